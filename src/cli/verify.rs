//! `vizard verify`: checks a statement that somebody made with `prove`, or the mapping in a ghost's member event,
//! offline.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde_json::Value;

use super::{
    args::Verify,
    document,
    failure::{Exit, Failure},
    print,
};
use crate::{
    clock::Clock,
    pseudonym::{
        Mapping, MappingError, SenderKeyId, ServerKeyId, SignatureFault, Signer, verify_proof,
    },
    sealed::{KeyDocument, fingerprint},
};

const MAPPING: &str = "org.matrix.msc4014.mxid_mapping";

pub(super) fn verify(options: &Verify) -> Result<Exit, Failure> {
    let given = read(options.file.as_ref())?;
    if given["type"] == "org.vizard.proof" {
        return statement(&given, options);
    }
    let member = member(&given, options)?;
    mapping(&member, options)
}

fn read(file: Option<&PathBuf>) -> Result<Value, Failure> {
    let text = match file.map(PathBuf::as_path) {
        Some(path) if path != Path::new("-") => std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read {}: {error}", path.display())),
        _ => {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .map(|_| text)
                .map_err(|error| format!("cannot read standard input: {error}"))
        }
    }
    .map_err(|error| {
        Failure::usage(
            error,
            "give the file with the statement or event, or - for standard input",
        )
    })?;
    serde_json::from_str(text.trim()).map_err(|_| {
        Failure::usage(
            "that is not JSON",
            "give the whole statement or event, from `{` to `}`, as the bot printed it or as your client shows its source",
        )
    })
}

fn statement(statement: &Value, options: &Verify) -> Result<Exit, Failure> {
    if let Err(error) = verify_proof(statement) {
        print(&format!("✗ this statement does not hold: {error}\n"));
        return Ok(Exit::Check);
    }
    let field = |name: &str| statement[name].as_str().unwrap_or_default().to_owned();
    let ghost = field("ghost");
    // With the keys of its server it can be told from another user of that server whose name ends in a key.
    if let (Some(file), Ok(user)) = (&options.keys, UserId::parse(&*ghost)) {
        let document = document::read(file, user.server_name(), None)?;
        if !is_ghost_of(&user, document.prefix()) {
            print(&format!(
                "✗ this statement does not hold: {ghost} is not one of the pseudonyms of its server\n"
            ));
            return Ok(Exit::Check);
        }
    }
    print(&format!(
        "✓ {ghost} says, as a member of {}:\n  {}\n",
        field("room_id"),
        field("text")
    ));
    Ok(Exit::Success)
}

fn is_ghost_of(user: &UserId, prefix: &str) -> bool {
    let key = user.localpart().strip_prefix(prefix);
    key.and_then(SenderKeyId::from_localpart).is_some()
}

/// A mapping, and for whom and where it must be.
struct Member {
    ghost: OwnedUserId,
    room: OwnedRoomId,
    mapping: Value,
}

/// Takes a member event, or a bare mapping whose ghost and room are told.
fn member(given: &Value, options: &Verify) -> Result<Member, Failure> {
    let is_event = given["type"] == "m.room.member";
    let mapping = if is_event {
        given["content"].get(MAPPING)
    } else {
        (given["type"] == "mxid_mapping").then_some(given)
    };
    let Some(mapping) = mapping else {
        return Err(Failure::usage(
            "that is neither a statement, nor a member event with a mapping, nor a mapping",
            format!("a pseudonym's event has type m.room.member and {MAPPING} in its content"),
        ));
    };
    let pick = |option: &Option<String>, field: &str| {
        let told = given[field].as_str().filter(|_| is_event);
        option.clone().or(told.map(str::to_owned))
    };
    let ghost = pick(&options.ghost, "state_key").and_then(|text| UserId::parse(text).ok());
    let room = pick(&options.room, "room_id").and_then(|text| RoomId::parse(text).ok());
    let (Some(ghost), Some(room)) = (ghost, room) else {
        return Err(Failure::usage(
            "whose mapping in which room this must be is not known",
            "give --ghost @…:SERVER and --room !… (events as clients show them may lack the room)",
        ));
    };
    Ok(Member {
        ghost,
        room,
        mapping: mapping.clone(),
    })
}

/// What is known of the keys of the ghost's server.
struct Known {
    keys: Vec<ServerKeyId>,
    prefix: String,
    /// When what is known of it was not valid any more.
    expired: bool,
}

fn known(member: &Member, options: &Verify) -> Result<Known, Failure> {
    if let Some(file) = &options.keys {
        let document = document::read(file, member.ghost.server_name(), None)?;
        let known = Known {
            keys: document.mapping_keys(),
            prefix: document.prefix().to_owned(),
            expired: KeyDocument::at(document, Clock::system().now()).is_err(),
        };
        return Ok(known);
    }
    let key = options.server_key.as_deref().map(server_key).transpose()?;
    Ok(Known {
        keys: key.into_iter().collect(),
        prefix: options.prefix.clone(),
        expired: false,
    })
}

/// Reads `ed25519:KID:BASE64`, or the key alone.
fn server_key(text: &str) -> Result<ServerKeyId, Failure> {
    let (name, key) = text
        .rsplit_once(':')
        .map_or((None, text), |(name, key)| (Some(name), key));
    ServerKeyId::from_base64(key)
        .filter(|key| name.is_none_or(|name| name == key.name()))
        .ok_or_else(|| {
            Failure::usage(
                "--server-key: not a server key",
                "give the 43 characters of base64 that `vizard keys show` prints on that server, alone or as ed25519:<name>:<key>; the name has to be the key's",
            )
        })
}

fn mapping(member: &Member, options: &Verify) -> Result<Exit, Failure> {
    let Known {
        keys,
        prefix,
        expired,
    } = known(member, options)?;
    let Member {
        ghost,
        room,
        mapping,
    } = member;
    let only_the_server = MappingError::Signature {
        signer: Signer::Server,
        fault: SignatureFault::UnknownKey,
    };
    match Mapping::verify(mapping, ghost, room, &prefix, &keys) {
        Ok(verified) => {
            let key = verified.server_key;
            print(&format!(
                "✓ {ghost} is a pseudonym in {room}: it holds its key, and the Vizard of {} vouches for it\n  by its server \
                 key {}: {}\n",
                ghost.server_name(),
                key.name(),
                fingerprint(key.as_bytes()),
            ));
            if expired {
                print(
                    "  (the key document is not valid any more: newer keys may have been published)\n",
                );
            }
            Ok(Exit::Success)
        }
        Err(error) if error == only_the_server && keys.is_empty() => {
            print(&format!(
                "✓ {ghost} holds its key in {room}\n  Only the ghost's own signature was checked. Whether its server vouches \
                 for it can be told with --keys or --server-key.\n"
            ));
            Ok(Exit::Success)
        }
        Err(error) => {
            print(&format!("✗ this mapping does not hold: {error}\n"));
            Ok(Exit::Check)
        }
    }
}
