//! Which log lines are written.

use tracing_subscriber::filter::{LevelFilter, Targets};

/// `log.level` makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither a level nor TARGET=LEVEL")]
pub struct FilterError(String);

/// Reads a list of `LEVEL` and `TARGET=LEVEL`, separated by commas.
///
/// A level alone is Vizard's own. Other crates (HTTP, SQL) are held at `warn`, and SQL statements and the encryption
/// library, which names users in its warnings, are off, whatever the list says, because their lines may quote what Vizard hides; only naming one with `trace`, as in
/// `info,hyper=trace`, opens it.
pub fn filter(list: &str) -> Result<Targets, FilterError> {
    let mut own = None;
    let mut named = Vec::new();
    for part in list.split(',').map(str::trim) {
        let refused = || FilterError(part.to_owned());
        match part.split_once('=') {
            None => own = Some(level(part).ok_or_else(refused)?),
            Some((target, text)) => {
                let target = target.trim();
                let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '-');
                if target.is_empty() || !target.chars().all(sound) {
                    return Err(refused());
                }
                named.push((target, level(text.trim()).ok_or_else(refused)?));
            }
        }
    }
    let own = own.unwrap_or(LevelFilter::INFO);
    let mut targets = Targets::new()
        .with_default(own.min(LevelFilter::WARN))
        .with_target("sqlx::query", LevelFilter::OFF)
        .with_target("matrix_sdk_crypto", LevelFilter::OFF)
        .with_target("matrix_sdk_common", LevelFilter::OFF)
        .with_target("vodozemac", LevelFilter::OFF)
        .with_target("vizard", own);
    for (target, level) in named {
        let ours = target == "vizard" || target.starts_with("vizard::");
        let allowed = if ours || level == LevelFilter::TRACE {
            level
        } else {
            level.min(LevelFilter::WARN)
        };
        targets = targets.with_target(target, allowed);
    }
    Ok(targets)
}

fn level(text: &str) -> Option<LevelFilter> {
    // `LevelFilter` itself would also take numbers and the empty text.
    match text {
        "off" | "error" | "warn" | "info" | "debug" | "trace" => text.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn other_crates_stay_at_warn_unless_named_with_trace() {
        for (list, target, level, written) in [
            ("info", "vizard::relay", Level::INFO, true),
            ("info", "vizard::relay", Level::DEBUG, false),
            ("trace", "vizard", Level::TRACE, true),
            ("trace", "hyper", Level::WARN, true),
            ("trace", "hyper", Level::INFO, false),
            ("hyper=debug", "hyper::proto", Level::INFO, false),
            ("hyper=trace", "hyper::proto", Level::TRACE, true),
            ("trace", "sqlx::query", Level::ERROR, false),
            ("trace,sqlx=trace", "sqlx::query", Level::WARN, false),
            ("sqlx::query=trace", "sqlx::query", Level::DEBUG, true),
            ("trace", "matrix_sdk_crypto::machine", Level::ERROR, false),
            ("trace", "matrix_sdk_common", Level::ERROR, false),
            ("trace", "vodozemac", Level::ERROR, false),
            (
                "info,matrix_sdk_crypto=trace",
                "matrix_sdk_crypto::olm",
                Level::WARN,
                true,
            ),
            ("trace", "vizard::e2ee", Level::TRACE, true),
            ("error", "reqwest", Level::WARN, false),
            ("warn, vizard::bot=debug", "vizard::bot", Level::DEBUG, true),
            (
                "warn,vizard::bot=debug",
                "vizard::relay",
                Level::INFO,
                false,
            ),
            ("off", "vizard", Level::ERROR, false),
        ] {
            let filter = filter(list).unwrap();
            assert_eq!(
                filter.would_enable(target, &level),
                written,
                "{list}: {target} {level}"
            );
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for list in [
            "",
            "inof",
            "info,",
            "vizard=",
            "=info",
            "vizard[a]=info",
            "3",
            "INFO;",
        ] {
            assert!(filter(list).is_err(), "{list}");
        }
    }
}
