//! The example configuration as a template: sets keys without touching the comments.

use std::fmt::Write as _;

/// Sets `section.key` (written or commented out in `toml`) to a text. `None` if there is no such line.
pub(super) fn set(toml: &str, section: &str, key: &str, value: &str) -> Option<String> {
    let header = format!("[{section}]");
    let (plain, commented) = (format!("{key} = "), format!("# {key} = "));
    let mut out = String::with_capacity(toml.len());
    let (mut inside, mut found) = (false, false);
    for line in toml.lines() {
        if line.starts_with('[') {
            inside = line == header;
        }
        if inside && !found && (line.starts_with(&plain) || line.starts_with(&commented)) {
            found = true;
            let _ = writeln!(out, "{key} = {}", toml::Value::from(value));
        } else {
            let _ = writeln!(out, "{line}");
        }
    }
    found.then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_wanted_line_changes() {
        let toml = "[a]\n# x = 1\n[b]\n# A comment.\n# x = 1\ny = \"2\"\n";
        assert_eq!(
            set(toml, "b", "x", "a \"b\" \\").unwrap(),
            "[a]\n# x = 1\n[b]\n# A comment.\nx = 'a \"b\" \\'\ny = \"2\"\n"
        );
        assert_eq!(
            set(toml, "b", "y", "3").unwrap(),
            toml.replace("\"2\"", "\"3\"")
        );
        assert_eq!(set(toml, "a", "y", "3"), None);
    }
}
