//! `vizard escrow`: the sealed copies of forgotten pseudonyms, and who was behind one of them.
//!
//! A copy is opened on purpose and one at a time: the list names no user. A copy whose time is over is never shown, even if
//! it was not deleted yet.

use std::{
    fmt::Write as _,
    time::{Duration, UNIX_EPOCH},
};

use ruma::UserId;

use super::{
    failure::{Exit, Failure},
    lock::Lock,
    master_key, print,
    rotate::{not_served, unopened},
};
use crate::{
    clock::{Clock, UnixMillis},
    config::Loaded,
    rng::Rng,
    store::{Escrowed, Store},
};

/// Lists the copies, or opens those of one ghost.
pub(super) async fn escrow(loaded: Loaded, ghost: Option<String>) -> Result<Exit, Failure> {
    let ghost = ghost.map(|ghost| UserId::parse(&ghost)).transpose();
    let ghost = ghost.map_err(|error| {
        Failure::usage(
            format!("--ghost: {error}"),
            "give the whole Matrix ID, such as @_vizard_…:example.org",
        )
    })?;
    let lock = Lock::take(&loaded)?;
    not_served(&loaded)?;
    let config = &loaded.config;
    if !config.database_path().is_none_or(|path| path.exists()) {
        return Err(Failure::usage(
            "there is no database yet, so nothing was forgotten",
            "name the right configuration with --config FILE",
        ));
    }
    master_key::settle(&loaded, &lock).await?;
    let key = config
        .master_key()
        .map_err(|error| Failure::usage(error.to_string(), "put the master key there"))?;
    let clock = Clock::system();
    let now = clock.now();
    let store = Store::open(config.database_url(), &key, clock, Rng::os())
        .await
        .map_err(|error| unopened(&error))?;
    let copies = store.escrowed().await;
    store.close().await;
    let copies = copies.map_err(|error| Failure::internal(error.to_string()))?;
    let kept = copies.into_iter().filter(|copy| copy.until > now).collect();
    Ok(match ghost {
        None => {
            print(&list(kept));
            Exit::Success
        }
        Some(ghost) => {
            let found: Vec<_> = kept
                .into_iter()
                .filter(|copy| copy.ghost == ghost)
                .collect();
            print(&disclosed(&found));
            if found.is_empty() {
                Exit::Check
            } else {
                Exit::Success
            }
        }
    })
}

fn list(mut copies: Vec<Escrowed>) -> String {
    copies.sort_by_key(|copy| copy.until);
    if copies.is_empty() {
        return "No sealed copy is kept.\n".to_owned();
    }
    let mut text = String::new();
    for copy in &copies {
        let _ = writeln!(text, "{}  until {}", copy.ghost, time(copy.until));
    }
    let _ = writeln!(
        text,
        "{} in all. `--ghost ID` tells who was behind one of them.",
        copies.len()
    );
    text
}

fn disclosed(copies: &[Escrowed]) -> String {
    let mut text = String::new();
    for copy in copies {
        let _ = writeln!(
            text,
            "ghost  {}\nuser   {}\nroom   {}\nuntil  {}",
            copy.ghost,
            copy.user,
            copy.room,
            time(copy.until)
        );
    }
    if copies.is_empty() {
        text.push_str("There is no sealed copy of this ghost: it was not forgotten, or longer ago than abuse.escrow_days, or never was one here.\n");
    }
    text
}

fn time(millis: UnixMillis) -> String {
    // The latest that can be written is the year 9999.
    let time = UNIX_EPOCH + Duration::from_millis(millis.min(253_402_300_799_000));
    httpdate::fmt_http_date(time)
}

#[cfg(test)]
mod tests {
    use ruma::{owned_room_id, owned_user_id};

    use super::*;

    #[test]
    fn the_list_names_no_user() {
        let copy = Escrowed {
            user: owned_user_id!("@alice:a.example"),
            room: owned_room_id!("!tea:b.example"),
            ghost: owned_user_id!("@_vizard_x:a.example"),
            until: 1_700_000_000_000,
        };
        let all = list(vec![copy.clone()]);
        assert!(
            all.contains("@_vizard_x:a.example  until Tue, 14 Nov 2023"),
            "{all}"
        );
        assert!(!all.contains("alice") && !all.contains("tea"), "{all}");
        let one = disclosed(&[copy]);
        assert!(one.contains("@alice:a.example") && one.contains("!tea:b.example"));
        assert!(disclosed(&[]).contains("no sealed copy"));
    }
}
