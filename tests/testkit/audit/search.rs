//! One pass over bytes for all forms of all needles.

use aho_corasick::{AhoCorasick, MatchKind};
use anyhow::Result;

use super::{
    Finding,
    needle::{Form, Needle},
};

/// The needles, ready for searching.
pub(super) struct Search {
    exact: Automaton,
    loose: Automaton,
}

struct Automaton {
    automaton: AhoCorasick,
    patterns: Vec<Pattern>,
}

struct Pattern {
    kind: String,
    shown: String,
    form: Form,
}

impl Search {
    pub(super) fn new(needles: &[Needle]) -> Result<Self> {
        let (mut exact, mut loose) = (Vec::new(), Vec::new());
        for needle in needles {
            for form in needle.forms() {
                let into = if form.exact { &mut exact } else { &mut loose };
                into.push(Pattern {
                    kind: needle.kind.clone(),
                    shown: needle.shown.clone(),
                    form,
                });
            }
        }
        Ok(Self {
            exact: Automaton::new(exact, false)?,
            loose: Automaton::new(loose, true)?,
        })
    }

    /// Adds what is found in `bytes`; `place` names a position. A form that lies inside a longer one of the
    /// same needle is reported once more: completeness goes before brevity.
    pub(super) fn find(
        &self,
        bytes: &[u8],
        place: impl Fn(usize) -> String,
        findings: &mut Vec<Finding>,
    ) {
        for Automaton {
            automaton,
            patterns,
        } in [&self.exact, &self.loose]
        {
            for found in automaton.find_overlapping_iter(bytes) {
                let Pattern { kind, shown, form } = &patterns[found.pattern().as_usize()];
                if form.whole && !stands_alone(bytes, found.start(), found.end()) {
                    continue;
                }
                findings.push(Finding {
                    place: place(found.start()),
                    kind: kind.clone(),
                    needle: shown.clone(),
                    form: form.name,
                    context: around(bytes, found.start(), found.end()),
                });
            }
        }
    }
}

impl Automaton {
    fn new(patterns: Vec<Pattern>, any_case: bool) -> Result<Self> {
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .ascii_case_insensitive(any_case)
            .build(patterns.iter().map(|pattern| &pattern.form.bytes))?;
        Ok(Self {
            automaton,
            patterns,
        })
    }
}

fn stands_alone(bytes: &[u8], start: usize, end: usize) -> bool {
    let letter = |at: Option<usize>| {
        at.and_then(|at| bytes.get(at))
            .is_some_and(u8::is_ascii_alphanumeric)
    };
    !letter(start.checked_sub(1)) && !letter(Some(end))
}

fn around(bytes: &[u8], start: usize, end: usize) -> String {
    const SIDE: usize = 40;
    let part = &bytes[start.saturating_sub(SIDE)..bytes.len().min(end + SIDE)];
    String::from_utf8_lossy(part)
        .chars()
        .map(|c| if c.is_control() { '·' } else { c })
        .collect()
}
