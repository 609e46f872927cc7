//! What `check` and `doctor` found: a table of ✓, ✗ and –, with a mend for every ✗.

use std::{
    fmt::Write as _,
    io::{IsTerminal as _, Write as _},
};

use serde::Serialize;

use super::{failure::Exit, print};

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    /// As it should be.
    Ok,
    /// To be mended.
    Failed,
    /// Neither good nor bad.
    Info,
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Row {
    check: &'static str,
    status: Status,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

impl Row {
    pub(super) fn ok(check: &'static str, detail: impl Into<String>) -> Self {
        Self {
            check,
            status: Status::Ok,
            detail: detail.into(),
            mend: None,
        }
    }

    pub(super) fn info(check: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status: Status::Info,
            ..Self::ok(check, detail)
        }
    }

    pub(super) fn failed(
        check: &'static str,
        detail: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self {
            status: Status::Failed,
            mend: Some(mend.into()),
            ..Self::ok(check, detail)
        }
    }

    pub(super) fn is_failed(&self) -> bool {
        self.status == Status::Failed
    }

    fn line(&self) -> String {
        let sign = match self.status {
            Status::Ok => '✓',
            Status::Failed => '✗',
            Status::Info => '–',
        };
        let mut line = format!("{sign} {:<18} {}\n", self.check, self.detail);
        if let Some(mend) = &self.mend {
            let mend = mend.replace('\n', &format!("\n{:23}", ""));
            let _ = writeln!(line, "  {:<18} → {mend}", "");
        }
        line
    }
}

/// All lines so far. In a table each is printed as soon as it is known.
#[derive(Debug)]
pub(super) struct Report {
    rows: Vec<Row>,
    json: bool,
    terminal: bool,
}

impl Report {
    pub(super) fn new(json: bool) -> Self {
        Self {
            rows: Vec::new(),
            json,
            terminal: std::io::stderr().is_terminal(),
        }
    }

    /// Says on a terminal what is being tried.
    pub(super) fn trying(&self, check: &str) {
        if self.terminal {
            let _ = write!(std::io::stderr(), "… {check}\r");
        }
    }

    pub(super) fn add(&mut self, row: Row) {
        if self.terminal {
            let _ = write!(std::io::stderr(), "\x1b[K");
        }
        if !self.json {
            print(&row.line());
        }
        self.rows.push(row);
    }

    fn failures(&self) -> usize {
        self.rows.iter().filter(|row| row.is_failed()).count()
    }

    pub(super) fn exit(&self) -> Exit {
        if self.failures() == 0 {
            Exit::Success
        } else {
            Exit::Check
        }
    }

    /// Prints what comes after the last line.
    pub(super) fn end(&self) {
        print(&self.summary());
    }

    fn summary(&self) -> String {
        if self.json {
            let report = serde_json::json!({ "ok": self.failures() == 0, "checks": self.rows });
            return format!("{report}\n");
        }
        match self.failures() {
            0 => "\nAll is well.\n".to_owned(),
            1 => "\nOne check failed; what to do stands below it.\n".to_owned(),
            count => format!("\n{count} checks failed; what to do stands below each.\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(json: bool) -> Report {
        Report {
            rows: vec![
                Row::ok("configuration", "sound"),
                Row::info("crowd", "unknown"),
                Row::failed("token", "refused", "restart it"),
            ],
            json,
            terminal: false,
        }
    }

    #[test]
    fn a_table_has_a_mend_below_each_failure() {
        let lines: String = report(false).rows.iter().map(Row::line).collect();
        assert_eq!(
            lines,
            "\
✓ configuration      sound
– crowd              unknown
✗ token              refused
                     → restart it
"
        );
        assert!(report(false).summary().contains("One check failed"));
    }

    #[test]
    fn json_says_the_same() {
        let json: serde_json::Value = serde_json::from_str(&report(true).summary()).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"ok": false, "checks": [
                {"check": "configuration", "status": "ok", "detail": "sound"},
                {"check": "crowd", "status": "info", "detail": "unknown"},
                {"check": "token", "status": "failed", "detail": "refused", "mend": "restart it"},
            ]})
        );
    }

    #[test]
    fn only_a_failure_fails() {
        assert_eq!(report(true).exit(), Exit::Check);
        let mut good = report(true);
        good.rows.pop();
        assert_eq!(good.exit(), Exit::Success);
    }
}
