//! The example file against the code.

use std::collections::BTreeSet;

use super::{
    super::{
        peers,
        schema::{self, KEYS, Presence},
    },
    *,
};

/// The example's lines that set a key: (section, key, line without its comment mark, whether it was commented out).
fn example_lines() -> Vec<(String, String, String, bool)> {
    let mut section = String::new();
    let mut lines = Vec::new();
    for line in EXAMPLE.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
            continue;
        }
        let bare = line.strip_prefix("# ").unwrap_or(line);
        if let Some((name, _)) = bare.split_once(" = ")
            && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        {
            lines.push((
                section.clone(),
                name.to_owned(),
                bare.to_owned(),
                bare != line,
            ));
        }
    }
    lines
}

#[test]
fn the_example_and_the_schema_have_the_same_keys() {
    let sort = |mut keys: Vec<String>| {
        keys.sort();
        keys
    };
    let example: Vec<_> = example_lines()
        .into_iter()
        .map(|(section, name, ..)| format!("{section}.{name}"))
        .collect();
    let schema: Vec<_> = KEYS.iter().map(schema::Key::path).collect();
    assert_eq!(sort(example), sort(schema));
}

#[test]
fn every_key_of_the_example_is_explained() {
    let lines: Vec<_> = EXAMPLE.lines().collect();
    for (_, name, bare, _) in example_lines() {
        let at = lines
            .iter()
            .position(|line| line.trim_start_matches("# ") == bare)
            .unwrap();
        let above = lines[at - 1];
        assert!(
            above.starts_with("# ") && !above.contains(" = "),
            "{name} has no comment"
        );
    }
}

/// serde lists the fields of a struct when it meets an unknown one.
#[test]
fn the_structs_and_the_schema_have_the_same_keys() {
    let sections: BTreeSet<_> = KEYS.iter().map(|key| key.section).collect();
    let mut fields = BTreeSet::new();
    for section in &sections {
        let toml = format!("[{section}]\nnonsense_ = 1");
        let error = toml::from_str::<Config>(&toml).unwrap_err().to_string();
        let list = error
            .split("expected")
            .nth(1)
            .unwrap_or_else(|| panic!("{error}"));
        for (index, field) in list.lines().next().unwrap().split('`').enumerate() {
            if index % 2 == 1 {
                fields.insert(format!("{section}.{field}"));
            }
        }
    }
    assert_eq!(fields, KEYS.iter().map(schema::Key::path).collect());
    let error = toml::from_str::<Config>("[nonsense_]")
        .unwrap_err()
        .to_string();
    let list = error.split("expected").nth(1).unwrap();
    assert_eq!(
        list.lines()
            .next()
            .unwrap()
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|section| *section != peers::SECTION)
            .collect::<BTreeSet<_>>(),
        sections
    );
}

#[test]
fn the_example_parses_and_each_commented_value_is_the_default() {
    let dir = dir(EXAMPLE);
    load(dir.path(), &[]).unwrap();
    std::fs::write(dir.path().join("vizard.toml"), minimal("")).unwrap();
    let plain = load(dir.path(), &[]).unwrap().config;
    for (section, name, bare, commented) in example_lines() {
        let key = schema::find(&section, &name).unwrap();
        if key.presence == Presence::Required {
            assert!(!commented, "{} is required", key.path());
        }
        if !commented {
            continue;
        }
        let with = minimal("") + &format!("[{section}]\n{bare}\n");
        // The minimal file has some of the sections already.
        let with = match with.matches(&format!("[{section}]\n")).count() {
            1 => with,
            _ => minimal("").replace(&format!("[{section}]\n"), &format!("[{section}]\n{bare}\n")),
        };
        if ["as_token", "hs_token", "url_file"].contains(&&*name) {
            assert_eq!(key.presence, Presence::Optional);
            continue;
        }
        std::fs::write(dir.path().join("vizard.toml"), with).unwrap();
        let set = load(dir.path(), &[])
            .unwrap_or_else(|error| panic!("{bare}: {error}"))
            .config;
        match key.presence {
            Presence::Defaulted => assert_eq!(set, plain, "{bare} is not the default"),
            _ => assert_ne!(set, plain, "{bare} changes nothing"),
        }
    }
}
