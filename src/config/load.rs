//! Reading a configuration: file, environment, secrets' files; then every check there is.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use figment::{
    Figment,
    providers::{Format as _, Toml},
    value::{Dict, Value},
};

use super::{
    Config, ConfigError, Environment, Hidden, Problem,
    environment::Layer,
    kind::{self, Kind},
    peers, schema,
    schema::{KEYS, Presence},
    sqlite_path, sqlite_url, validate,
};

/// Stands in for a database's URL that is not there.
const NO_URL: &str = "sqlite:missing";

/// A configuration and where it came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration: its paths are absolute, its tokens are there.
    pub config: Config,
    /// The file, as an absolute path.
    pub path: PathBuf,
}

impl Loaded {
    /// The directory of the file, against which its relative paths were resolved.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }
}

impl Config {
    /// Reads the file at `path`, lets `environment` override it, and checks everything that can be checked without
    /// opening the master key, the database or the network.
    pub fn load(path: &Path, environment: &Environment) -> Result<Loaded, ConfigError> {
        let unreadable = |source| ConfigError::Read {
            path: path.to_owned(),
            source,
        };
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let path = std::path::absolute(path).map_err(unreadable)?;
        let dir = path.parent().unwrap_or(Path::new("/")).to_owned();
        syntax(&path, &text)?;

        let mut problems = Vec::new();
        let layer = Layer::read(environment, &mut problems);
        let figment = Figment::from(Toml::string(&text)).merge(&layer);
        let mut raw: Dict = figment
            .extract()
            .map_err(|error| unsuitable(&path, &error))?;
        let known = raw
            .remove(peers::SECTION)
            .map(|value| peers::sweep(&value, &mut problems));

        let mut sweep = Sweep {
            problems,
            suspects: BTreeSet::new(),
        };
        let mut sound = sweep.sweep(raw);
        if let Some(known) = known {
            sound.insert(peers::SECTION.to_owned(), Value::from(known));
        }
        let mut config: Config = Value::from(sound)
            .deserialize()
            .map_err(|error| unsuitable(&path, &error))?;
        sweep.read_database_url(&mut config, &dir);
        resolve(&mut config, &dir);
        sweep.read_tokens(&mut config);
        let Sweep {
            mut problems,
            suspects,
        } = sweep;
        problems.extend(validate::across(&config, &suspects));

        if problems.is_empty() {
            return Ok(Loaded { config, path });
        }
        for problem in &mut problems {
            problem.variable = layer.variable(&problem.key).cloned();
        }
        Err(ConfigError::Invalid { path, problems })
    }
}

/// Finds what each key alone has against it.
struct Sweep {
    problems: Vec<Problem>,
    /// Keys that have a problem already, so that checks across keys do not stumble over them again.
    suspects: BTreeSet<String>,
}

impl Sweep {
    /// Keeps sound keys; stands something harmless in for required ones that are not, so that the search for further
    /// problems can go on.
    fn sweep(&mut self, raw: Dict) -> Dict {
        let mut sound = Dict::new();
        for (section, value) in raw {
            if !schema::is_section(&section) {
                self.unknown_section(&section, &value);
                continue;
            }
            let Value::Dict(tag, keys) = value else {
                self.problem(
                    &section,
                    "is a section, not a key",
                    format!("write [{section}] on a line of its own, and its keys below"),
                );
                continue;
            };
            let mut kept = Dict::new();
            for (name, value) in keys {
                if self.key(&section, &name, &value) {
                    kept.insert(name, value);
                }
            }
            sound.insert(section, Value::Dict(tag, kept));
        }
        for key in KEYS.iter().filter(|key| key.presence == Presence::Required) {
            let section = sound
                .entry(key.section.to_owned())
                .or_insert_with(|| Value::from(Dict::new()));
            let Value::Dict(_, section) = section else {
                continue;
            };
            if !section.contains_key(key.name) {
                let elsewhere = key.kind == Kind::DatabaseUrl && section.contains_key("url_file");
                if !elsewhere && !self.suspects.contains(&key.path()) {
                    self.problem(&key.path(), "is missing", key.kind.example());
                }
                let stand_in = match key.name {
                    "url" if key.section == "database" => NO_URL,
                    "url" => "http://missing.invalid",
                    _ => "missing.invalid",
                };
                section.insert(key.name.to_owned(), Value::from(stand_in));
            }
        }
        sound
    }

    /// Whether a key may stay.
    fn key(&mut self, section: &str, name: &str, value: &Value) -> bool {
        let path = format!("{section}.{name}");
        let Some(key) = schema::find(section, name) else {
            self.problem(
                &path,
                "there is no such key",
                format!("the nearest is {}", schema::nearest(section, name).path()),
            );
            return false;
        };
        match key.kind.check(value) {
            Ok(()) => true,
            Err((what, instead)) => {
                self.problem(&path, what, instead);
                false
            }
        }
    }

    fn unknown_section(&mut self, section: &str, value: &Value) {
        if let Value::Dict(_, keys) = value {
            let nearest = schema::nearest_section(section);
            self.problem(
                section,
                "there is no such section",
                format!("the nearest is [{nearest}]"),
            );
            for name in keys.keys() {
                if schema::find(nearest, name).is_none() {
                    let nearest = schema::nearest(nearest, name).path();
                    self.problem(
                        &format!("{section}.{name}"),
                        "there is no such key",
                        format!("the nearest is {nearest}"),
                    );
                }
            }
        } else {
            let nearest = schema::nearest("", section);
            self.problem(
                section,
                "is a key outside of any section",
                format!(
                    "the nearest is {}, written below [{}]",
                    nearest.path(),
                    nearest.section
                ),
            );
        }
    }

    /// Reads the file in which the database's URL stands, if there is one.
    fn read_database_url(&mut self, config: &mut Config, dir: &Path) {
        let database = &mut config.database;
        let Some(path) = database.url_file.as_ref().map(|path| dir.join(path)) else {
            return;
        };
        if database.url.expose() != NO_URL {
            let both = "database.url and database.url_file are both set";
            self.problem("database.url", both, "keep one of them");
            return;
        }
        let read = read_secret(&path, "URL", kind::database_url);
        match read {
            Ok(url) => database.url = url,
            Err(what) => self.problem(
                "database.url_file",
                what,
                "name a readable file with `postgres://USER:PASSWORD@HOST/NAME` and nothing else in it",
            ),
        }
        database.url_file = Some(path);
    }

    /// Reads the tokens' files.
    fn read_tokens(&mut self, config: &mut Config) {
        let service = &mut config.appservice;
        for (name, token, file) in [
            ("as_token", &mut service.as_token, &service.as_token_file),
            ("hs_token", &mut service.hs_token, &service.hs_token_file),
        ] {
            let key = format!("appservice.{name}");
            let file_key = format!("{key}_file");
            match (token.is_some(), file) {
                (true, Some(_)) => self.problem(
                    &key,
                    format!("{key} and {file_key} are both set"),
                    format!("keep {file_key} alone"),
                ),
                (false, Some(path)) => match read_secret(path, "token", kind::token) {
                    Ok(text) => *token = Some(text),
                    Err(what) => {
                        self.problem(
                            &file_key,
                            what,
                            "name a readable file with a token of at least 32 characters (`vizard init` makes one)",
                        );
                        self.suspects.insert(key);
                    }
                },
                (false, None)
                    if !self.suspects.contains(&key) && !self.suspects.contains(&file_key) =>
                {
                    self.problem(
                        &key,
                        "is missing",
                        format!("write {name}_file = \"{name}\" and keep the token in that file (`vizard init` makes one)"),
                    );
                }
                _ => {}
            }
        }
    }

    fn problem(&mut self, key: &str, what: impl Into<String>, instead: impl Into<String>) {
        self.suspects.insert(key.to_owned());
        self.problems.push(Problem::new(key, what, instead));
    }
}

/// Reads a file that holds one secret, which is never quoted.
fn read_secret(
    path: &Path,
    name: &str,
    check: impl Fn(&str) -> Result<(), &'static str>,
) -> Result<Hidden, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let text = text.trim();
    check(text).map_err(|what| format!("the {name} in {} {what}", path.display()))?;
    Ok(Hidden::new(text))
}

/// Makes relative paths absolute: they count from the file's directory, wherever Vizard is started.
fn resolve(config: &mut Config, dir: &Path) {
    let absolute = |path: &mut PathBuf| *path = dir.join(&*path);
    absolute(&mut config.secrets.master_key_file);
    config
        .appservice
        .as_token_file
        .iter_mut()
        .for_each(absolute);
    config
        .appservice
        .hs_token_file
        .iter_mut()
        .for_each(absolute);
    config.keys.ca_file.iter_mut().for_each(absolute);
    config.media.directory.iter_mut().for_each(absolute);
    if let Some(path) = sqlite_path(config.database.url.expose()) {
        config.database.url = Hidden::new(sqlite_url(&dir.join(path)));
    } else if config.media.directory.is_none() {
        config.media.directory = Some(dir.to_owned());
    }
}

fn syntax(path: &Path, text: &str) -> Result<(), ConfigError> {
    let Err(error) = toml::from_str::<toml::Table>(text) else {
        return Ok(());
    };
    let before = error.span().and_then(|span| text.get(..span.start));
    Err(ConfigError::Syntax {
        path: path.to_owned(),
        line: before.map_or(1, |before| before.matches('\n').count() + 1),
        message: error.message().trim().replace('\n', ", "),
    })
}

/// For what figment itself finds wrong, which the checks above should have said better.
fn unsuitable(path: &Path, error: &figment::Error) -> ConfigError {
    ConfigError::Invalid {
        path: path.to_owned(),
        problems: vec![Problem::new(
            error.path.join("."),
            error.kind.to_string(),
            "see config/vizard.example.toml",
        )],
    }
}
