//! The layer of environment variables above the file: `VIZARD__SECTION__KEY`.

use std::collections::BTreeMap;

use figment::{
    Error, Metadata, Profile, Provider,
    value::{Dict, Map, Value},
};

use super::{Environment, Problem, schema};

const PREFIX: &str = "VIZARD__";

/// What the environment sets.
#[derive(Debug, Default)]
pub(super) struct Layer {
    values: Dict,
    /// Which variable set a `section.key`.
    variables: BTreeMap<String, String>,
}

impl Layer {
    /// Reads the variables that are meant for Vizard; misshapen ones become problems.
    pub(super) fn read(environment: &Environment, problems: &mut Vec<Problem>) -> Self {
        let mut layer = Self::default();
        for (variable, raw) in environment {
            let Some(rest) = variable.strip_prefix(PREFIX) else {
                continue;
            };
            let rest = rest.to_lowercase();
            let (section, name) = match rest.split_once("__") {
                Some((section, name)) if !section.is_empty() && !name.is_empty() => (section, name),
                _ => {
                    problems.push(Problem {
                        variable: None,
                        ..Problem::new(
                            variable,
                            "this environment variable does not name a key",
                            "name it VIZARD__SECTION__KEY, such as VIZARD__LOG__LEVEL, or unset it",
                        )
                    });
                    continue;
                }
            };
            let dict = layer
                .values
                .entry(section.to_owned())
                .or_insert_with(|| Value::from(Dict::new()));
            if let Value::Dict(_, dict) = dict {
                dict.insert(name.to_owned(), parse(section, name, raw));
            }
            layer
                .variables
                .insert(format!("{section}.{name}"), variable.clone());
        }
        layer
    }

    /// The variable that set a key, if one did.
    pub(super) fn variable(&self, key: &str) -> Option<&String> {
        self.variables.get(key)
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named("environment variables")
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

/// A variable's text as a TOML value, or as it stands where a text is wanted or TOML makes nothing of it.
fn parse(section: &str, name: &str, raw: &str) -> Value {
    let as_it_stands = || Value::from(raw.to_owned());
    let wants_text = schema::find(section, name).is_some_and(|key| key.kind.is_text());
    let parsed = toml::from_str::<toml::Table>(&format!("value = {raw}"))
        .ok()
        .filter(|table| table.len() == 1)
        .and_then(|mut table| table.remove("value"));
    match parsed {
        Some(toml::Value::String(text)) => Value::from(text),
        Some(value) if !wants_text => Value::serialize(value).unwrap_or_else(|_| as_it_stands()),
        _ => as_it_stands(),
    }
}
