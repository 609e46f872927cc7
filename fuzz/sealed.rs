//! What must hold of sealed addresses, key documents and the messages between Vizards for any input. Used by the fuzz
//! targets and by the tests that run their corpus; whoever includes this file has `sealed`, `pseudonym` and `rng` in
//! scope.

use ruma::{UserId, room_id, server_name};

use super::{
    pseudonym::SenderKey,
    rng::Rng,
    sealed::{
        Asked, HpkeKey, HpkeKeys, KeyDocument, MAX_ADDRESS, MAX_DOCUMENT, MAX_MESSAGE, PLAIN,
        Reply, SealedAddress, Target, UnverifiedRequest, open, read_plain,
    },
};

/// The time at which everything happens.
const NOW: u64 = 1_800_000_000_000;

/// Any text as a sealed address: it is read in one form or not at all, and nobody who does not hold the key opens it.
pub fn address(text: &str) -> bool {
    let Ok(address) = SealedAddress::parse(text) else {
        return false;
    };
    assert_eq!(address.to_string(), text);
    assert!(text.len() <= MAX_ADDRESS);
    let keys = HpkeKeys::new(vec![HpkeKey::generate(&Rng::seeded(404))]);
    let inviter = SenderKey::from_seed(&[1; 32]).id().into();
    let opened = open(
        &address,
        address.server(),
        &keys,
        room_id!("!room"),
        &inviter,
    );
    assert!(opened.is_err());
    true
}

/// Any bytes as what is inside a sealed address, which whoever seals can choose: it names somebody of this server, or nobody.
pub fn inside(bytes: &[u8]) -> bool {
    let mut plain = [0; PLAIN];
    for (to, from) in plain.iter_mut().zip(bytes) {
        *to = *from;
    }
    let server = server_name!("b.example");
    let read = read_plain(&plain, server);
    assert_eq!(read, read_plain(&plain, server));
    match read {
        Some((Target::User(user), _)) => {
            assert_eq!(user.server_name(), server);
            assert_eq!(
                user.localpart().as_bytes(),
                &plain[2..2 + usize::from(plain[1])]
            );
            true
        }
        Some((Target::Contact(id), _)) => {
            assert_eq!(id, plain[2..18]);
            true
        }
        None => false,
    }
}

/// Any bytes as a key document: what is taken is signed by all its keys, and reads the same when it is written again.
pub fn document(bytes: &[u8]) -> bool {
    let Ok(document) = KeyDocument::parse_of_any_time(bytes, server_name!("b.example")) else {
        return false;
    };
    assert!(bytes.len() <= MAX_DOCUMENT);
    assert!(!document.verify_keys().is_empty() && !document.hpke_keys().is_empty());
    for key in document.verify_keys() {
        assert!(document.signers().contains(key));
    }
    let again = document.json().to_string();
    let again = KeyDocument::parse_of_any_time(again.as_bytes(), document.server());
    assert_eq!(again.as_ref(), Ok(&document));
    true
}

/// Any bytes as an answer to just the question that it claims to answer, of the Vizard whose document is among the test vectors;
/// tells whether it is one.
pub fn reply(bytes: &[u8]) -> bool {
    let vector = include_str!("../docs/vectors/key-document.json");
    let vector: serde_json::Value = serde_json::from_str(vector).unwrap_or_default();
    let server = server_name!("b.example");
    let document = vector["document"].to_string();
    let Ok(document) = KeyDocument::parse_of_any_time(document.as_bytes(), server) else {
        unreachable!("the vector is a document");
    };
    let content: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
    let text = |field: &str| content[field].as_str().unwrap_or_default().to_owned();
    let asked = Asked {
        request_id: text("request_id"),
        request_hash: text("request_hash"),
        server: server.to_owned(),
        room: room_id!("!room:a.example").to_owned(),
    };
    match Reply::parse(bytes, document.bot(), &asked, &document) {
        Ok(Reply::Ghost { ghost, .. }) => {
            assert_eq!(ghost.server_name(), server);
            true
        }
        Ok(Reply::Refused) => true,
        Err(_) => false,
    }
}

/// Any bytes as the content of a message to a bot; tells whether it is a request that its inviter signed.
pub fn message(bytes: &[u8]) -> bool {
    // A claim alone: bounded, and not taken for an answer.
    assert!(Reply::request_id(bytes).is_none() || bytes.len() <= MAX_MESSAGE);
    let inviter = serde_json::from_slice::<serde_json::Value>(bytes)
        .ok()
        .and_then(|content| content["inviter"].as_str().map(str::to_owned));
    let Some(sender) = inviter.and_then(|text| UserId::parse(text).ok()) else {
        return false;
    };
    let server = server_name!("b.example");
    let Ok(request) = UnverifiedRequest::parse(bytes, &sender, server, NOW) else {
        return false;
    };
    assert_eq!(request.inviter().user(), sender);
    let needs = request.needs_keys_of().is_some();
    let Ok(request) = request.verify(None) else {
        return false;
    };
    assert!(!needs, "a bot's request needs keys");
    assert!(request.expires_ts > NOW);
    assert_eq!(request.sealed.server(), server);
    true
}
