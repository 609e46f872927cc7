//! Sealed invites, without a network: two Vizards, A that invites and B that is asked.

mod accepting;
mod addresses;
mod documents;
mod facts;
mod properties;
mod requests;
mod responses;
mod rfc9180;
mod suites;
mod vectors;

// What the fuzz targets check; here over their corpus and over generated texts.
#[path = "../../../fuzz/sealed.rs"]
mod checks;

use ruma::{OwnedServerName, OwnedUserId, RoomId, UserId, room_id, server_name, user_id};
use serde_json::Value;

use super::*;
use crate::{
    pseudonym::{self, Namespace, SenderKey, ServerKey, signed},
    rng::{self, Rng},
    sealed,
};

/// The time at which everything happens, and some lengths of it.
const NOW: u64 = 1_800_000_000_000;
const HOUR: u64 = 60 * 60 * 1000;
const DAY: u64 = 24 * HOUR;

/// The room.
fn room() -> &'static RoomId {
    room_id!("!room:a.example")
}

/// The invitee.
fn bob() -> &'static UserId {
    user_id!("@bob:b.example")
}

/// One Vizard.
struct Vizard {
    server: OwnedServerName,
    namespace: Namespace,
    server_key: ServerKey,
    hpke: HpkeKey,
    secret: InviteSecret,
    document: KeyDocument,
}

impl Vizard {
    fn new(server: &str, seed: u64) -> Self {
        let rng = Rng::seeded(seed);
        let server = OwnedServerName::try_from(server).expect("a server name");
        let namespace = Namespace::new(&server, "_vizard_", "vizard").expect("valid");
        let server_key = ServerKey::generate(&rng);
        let hpke = HpkeKey::generate(&rng);
        let listed = listed(&hpke, NOW + 30 * DAY);
        let document = draft(&namespace, std::slice::from_ref(&server_key), &[listed], 1)
            .sign(NOW)
            .expect("valid");
        Self {
            secret: InviteSecret::generate(&rng),
            server,
            namespace,
            server_key,
            hpke,
            document,
        }
    }

    fn keys(&self) -> HpkeKeys {
        HpkeKeys::new(vec![self.hpke.clone()])
    }
}

fn a() -> Vizard {
    Vizard::new("a.example", 1)
}

fn b() -> Vizard {
    Vizard::new("b.example", 2)
}

fn listed(key: &HpkeKey, expires_ts: u64) -> ListedKey {
    ListedKey {
        key: key.public(),
        expires_ts,
    }
}

fn draft<'a>(
    namespace: &'a Namespace,
    verify_keys: &'a [ServerKey],
    hpke_keys: &'a [ListedKey],
    sequence: u64,
) -> DocumentDraft<'a> {
    DocumentDraft {
        server: namespace.server(),
        bot: namespace.bot(),
        prefix: "_vizard_",
        sequence,
        valid_until_ts: NOW + 7 * DAY,
        verify_keys,
        old_verify_keys: &[],
        hpke_keys,
    }
}

fn json(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).expect("JSON")
}

/// A ghost of A that invites.
struct Alice {
    key: SenderKey,
    ghost: OwnedUserId,
}

impl Alice {
    fn new() -> Self {
        Self::of(3)
    }

    fn of(seed: u64) -> Self {
        let key = SenderKey::generate(&Rng::seeded(seed));
        let ghost = a().namespace.ghost(&key.id());
        Self { key, ghost }
    }

    fn inviter(&self) -> InviterKey {
        self.key.id().into()
    }

    /// Bob, sealed for this room and inviter.
    fn seals(&self) -> SealedAddress {
        let sealing = Sealing::Bound {
            user: bob(),
            room: room(),
            inviter: self.inviter(),
        };
        seal(&Rng::seeded(4), &b().hpke.public(), sealing, NOW + DAY).expect("sealed")
    }

    fn requests(&self, sealed: &SealedAddress) -> SignedRequest {
        let draft = RequestDraft {
            sealed,
            room: room(),
            expires_ts: NOW + DAY,
        };
        draft.sign_as_ghost(&Rng::seeded(5), &self.ghost, &self.key)
    }
}

/// What B makes of a content that somebody sent.
fn received(content: &Value, sender: &UserId) -> Result<InviteRequest, Rejected> {
    UnverifiedRequest::parse(&json(content), sender, server_name!("b.example"), NOW)?
        .verify(Some(&a().document))
}

/// A content with another field, not signed anew.
fn with(content: &Value, field: &str, value: impl Into<Value>) -> Value {
    let mut content = content.clone();
    content[field] = value.into();
    content
}

/// A content with another field, signed anew by `sign` under the names that are there.
fn signed_with(
    content: &Value,
    field: &str,
    value: impl Into<Value>,
    sign: impl Fn(&[u8]) -> [u8; 64],
) -> Value {
    let mut content = with(content, field, value);
    let object = content.as_object().expect("an object");
    let message = signed::bytes_of(object).expect("canonical");
    for by in content["signatures"]
        .as_object_mut()
        .expect("signers")
        .values_mut()
    {
        for signature in by.as_object_mut().expect("signatures").values_mut() {
            *signature = signed::encode(&sign(&message)).into();
        }
    }
    content
}
