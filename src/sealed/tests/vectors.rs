//! The test vectors of `docs/vectors`: they are what this code makes of fixed inputs, and it reads them as they say.
//! `VIZARD_WRITE_VECTORS=1 cargo test --lib sealed::tests::vectors` writes them anew.

use std::{fs, path::Path};

use data_encoding::HEXLOWER;
use ruma::{server_name, user_id};
use serde_json::json;

use super::{
    super::{address, plain, suite},
    rfc9180::Given,
    *,
};

const SERVER_SEED: [u8; 32] = [0x11; 32];
const FORMER_SEED: [u8; 32] = [0x12; 32];
const INVITER_SERVER_SEED: [u8; 32] = [0x13; 32];
const HPKE_SEED: [u8; 32] = [0x21; 32];
const SENDER_SEED: [u8; 32] = [0x31; 32];
const SECRET: [u8; 32] = [0x41; 32];
const REQUEST_ID: [u8; 16] = [0x51; 16];

fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

fn canonical(value: &Value) -> String {
    let bytes = signed::bytes_of(value.as_object().expect("an object")).expect("canonical");
    String::from_utf8(bytes).expect("UTF-8")
}

/// Compares with the committed file, or writes it.
fn compare(name: &str, vector: &Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("docs/vectors")
        .join(name);
    let text = format!("{}\n", serde_json::to_string_pretty(vector).expect("JSON"));
    if std::env::var_os("VIZARD_WRITE_VECTORS").is_some() {
        fs::write(&path, &text).expect("written");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == text,
        "{name} is not what the code makes (VIZARD_WRITE_VECTORS=1 writes it anew)"
    );
}

fn sender() -> SenderKey {
    SenderKey::from_seed(&SENDER_SEED)
}

fn ghost() -> ruma::OwnedUserId {
    a().namespace.ghost(&sender().id())
}

#[test]
fn key_document() {
    let (key, former) = (
        ServerKey::from_seed(&SERVER_SEED),
        ServerKey::from_seed(&FORMER_SEED),
    );
    let hpke = HpkeKey::from_seed(&HPKE_SEED);
    let old = [OldKey {
        key: former.public(),
        expired_ts: NOW - DAY,
        signs: Some(former.clone()),
    }];
    let document = DocumentDraft {
        server: server_name!("b.example"),
        bot: user_id!("@vizard:b.example"),
        prefix: "_vizard_",
        sequence: 7,
        valid_until_ts: NOW + 7 * DAY,
        verify_keys: std::slice::from_ref(&key),
        old_verify_keys: &old,
        hpke_keys: &[listed(&hpke, NOW + 44 * DAY)],
    }
    .sign(NOW)
    .expect("valid");
    let vector = json!({
        "now": NOW,
        "server_key_seed": hex(&SERVER_SEED),
        "former_server_key_seed": hex(&FORMER_SEED),
        "hpke_private_key": hex(hpke.seed().expose()),
        "document": document.json(),
        "signed_text": canonical(document.json()),
        "digest": hex(document.digest()),
        "server_key_fingerprint": fingerprint(key.public().as_bytes()),
        "hpke_key_fingerprint": fingerprint(hpke.public().as_bytes()),
    });
    compare("key-document.json", &vector);
}

#[test]
fn sealed_addresses() {
    let hpke = HpkeKey::from_seed(&HPKE_SEED);
    let inviter = InviterKey::from(sender().id());
    let (id, server) = ([0x61; CONTACT_ID], server_name!("b.example"));
    let literal = user_id!("@bob:[2001:db8::1]:8448");
    let sealings = [
        (
            "bound",
            Sealing::Bound {
                user: bob(),
                room: room(),
                inviter,
            },
        ),
        (
            "made by hand for a contact",
            Sealing::Contact { user: bob() },
        ),
        ("a contact address", Sealing::Address { server, id }),
        (
            "a server name with colons",
            Sealing::Contact { user: literal },
        ),
    ];
    let vectors: Vec<_> = (0_u8..)
        .zip(sealings)
        .map(|(number, (what, sealing))| {
            let (nonce, ephemeral) = ([0x70 + number; 16], [0x80 + number; 32]);
            let expires_ts = NOW + DAY;
            let mut rng = Given(ephemeral.to_vec());
            let sealed = address::seal_with(&nonce, &mut rng, &hpke.public(), sealing, expires_ts)
                .expect("sealed");
            let keys = HpkeKeys::new(vec![hpke.clone()]);
            let opened = open(&sealed, sealed.server(), &keys, room(), &inviter).expect("opened");
            let target = match &opened.target {
                Target::User(user) => json!({ "user": user }),
                Target::Contact(id) => json!({ "contact_id": hex(id) }),
            };
            let text = plain::encode(&opened.target, expires_ts, &nonce).expect("fits");
            json!({
                "what": what,
                "target": target,
                "room_id": room(),
                "inviter_key": hex(inviter.as_bytes()),
                "expires_ts": expires_ts,
                "nonce": hex(&nonce),
                "ephemeral_ikm": hex(&ephemeral),
                "info": hex(&address::info(sealed.server())),
                "aad": hex(&sealed.aad(room(), &inviter).expect("aad")),
                "plaintext": hex(&text[..]),
                "payload": hex(sealed.payload()),
                "address": sealed.to_string(),
            })
        })
        .collect();
    let private = hpke.seed();
    let public = suite::public_bytes(&suite::private_key(private.expose()));
    let vector = json!({
        "suite": SUITE,
        "hpke_private_key": hex(private.expose()),
        "hpke_public_key": hex(&public),
        "addresses": vectors,
    });
    compare("sealed-addresses.json", &vector);
}

fn sealed_to(inviter: InviterKey) -> SealedAddress {
    let sealing = Sealing::Bound {
        user: bob(),
        room: room(),
        inviter,
    };
    let key = HpkeKey::from_seed(&HPKE_SEED).public();
    let mut rng = Given(vec![0x80; 32]);
    address::seal_with(&[0x70; 16], &mut rng, &key, sealing, NOW + DAY).expect("sealed")
}

fn requests() -> [SignedRequest; 2] {
    let server_key = ServerKey::from_seed(&INVITER_SERVER_SEED);
    let sealed = [
        sealed_to(sender().id().into()),
        sealed_to(server_key.public().into()),
    ];
    let draft = |sealed| RequestDraft {
        sealed,
        room: room(),
        expires_ts: NOW + DAY,
    };
    let bot = user_id!("@vizard:a.example");
    [
        draft(&sealed[0]).sign_as_ghost_with(&REQUEST_ID, &ghost(), &sender()),
        draft(&sealed[1]).sign_as_bot_with(&REQUEST_ID, bot, &server_key),
    ]
}

fn request_vector(request: &SignedRequest) -> Value {
    json!({
        "content": request.content,
        "signed_text": canonical(&request.content),
        "request_hash": request.asked.request_hash,
    })
}

#[test]
fn invite_request() {
    let [by_ghost, by_bot] = requests();
    let vector = json!({
        "now": NOW,
        "sender_key_seed": hex(&SENDER_SEED),
        "server_key_seed": hex(&INVITER_SERVER_SEED),
        "by_ghost": request_vector(&by_ghost),
        "by_bot": request_vector(&by_bot),
    });
    compare("invite-request.json", &vector);
}

#[test]
fn invite_response() {
    let [request, _] = requests();
    let received = received(&request.content, &ghost()).expect("a request");
    let (server_key, namespace) = (ServerKey::from_seed(&SERVER_SEED), b().namespace);
    let secret = InviteSecret::from_bytes(SECRET);
    let prepared = answer(&received, &secret, &namespace, &server_key);
    let refused = refuse(&received.reply_to, &namespace, &server_key);
    let vector = json!({
        "server_key_seed": hex(&SERVER_SEED),
        "invite_secret": hex(&SECRET),
        "request": request.content,
        "ghost_key_seed": hex(&prepared.key.seed()),
        "answer": { "content": prepared.content, "signed_text": canonical(&prepared.content) },
        "refusal": { "content": refused, "signed_text": canonical(&refused) },
    });
    compare("invite-response.json", &vector);
}

#[test]
fn ghost_derivation() {
    let inviter = InviterKey::from(sender().id());
    let sealed = sealed_to(inviter);
    let key = InviteSecret::from_bytes(SECRET).ghost(sealed.payload(), room(), &inviter);
    let vector = json!({
        "invite_secret": hex(&SECRET),
        "payload": hex(sealed.payload()),
        "room_id": room(),
        "inviter_key": hex(inviter.as_bytes()),
        "seed": hex(&key.seed()),
        "ghost": b().namespace.ghost(&key.id()),
    });
    compare("ghost.json", &vector);
}
