//! Answering: the same for the same request, and only by whoever was asked.

use serde_json::json;

use super::*;
use crate::pseudonym::{FieldFault, Mapping, MappingError, SignatureFault, Signer, SignersFault};

struct Case {
    alice: Alice,
    asked: Asked,
    request: InviteRequest,
    b: Vizard,
    content: Value,
}

impl Case {
    fn new() -> Self {
        let (alice, b) = (Alice::new(), b());
        let SignedRequest { content, asked } = alice.requests(&alice.seals());
        let request = received(&content, &alice.ghost).expect("a request");
        let content = answer(&request, &b.secret, &b.namespace, &b.server_key).content;
        Self {
            alice,
            asked,
            request,
            b,
            content,
        }
    }

    fn reads(&self, content: &Value) -> Result<Reply, ResponseFault> {
        let bot = self.b.namespace.bot();
        Reply::parse(&json(content), bot, &self.asked, &self.b.document)
    }

    fn signed(&self, field: &str, value: impl Into<Value>) -> Value {
        signed_with(&self.content, field, value, |m| self.b.server_key.sign(m))
    }
}

#[test]
fn the_answer_is_a_ghost_of_the_server_that_was_asked() {
    let case = Case::new();
    let Ok(Reply::Ghost { ghost, mapping }) = case.reads(&case.content) else {
        panic!("{:?}", case.reads(&case.content));
    };
    assert_eq!(ghost.server_name(), case.b.server);
    let keys = [case.b.server_key.public()];
    assert!(Mapping::verify(&mapping, &ghost, room(), "_vizard_", &keys).is_ok());
    let id = Reply::request_id(&json(&case.content));
    assert_eq!(id.as_ref(), Some(&case.asked.request_id));
    // The invitee's side can act as it.
    let prepared = answer(
        &case.request,
        &case.b.secret,
        &case.b.namespace,
        &case.b.server_key,
    );
    assert_eq!(case.b.namespace.ghost(&prepared.key.id()), ghost);
    assert_eq!(prepared.ghost, ghost);
}

#[test]
fn the_same_request_gets_the_same_ghost_and_any_other_another() {
    let case = Case::new();
    let (secret, request) = (&case.b.secret, &case.request);
    let payload = request.sealed.payload();
    let ghost = |secret: &InviteSecret, payload, room, inviter: InviterKey| {
        secret.ghost(payload, room, &inviter).id()
    };
    let first = ghost(secret, payload, room(), case.alice.inviter());
    assert_eq!(first, ghost(secret, payload, room(), case.alice.inviter()));
    let mut changed = *payload;
    changed[333] ^= 1;
    let other_room = room_id!("!room:a.examplf");
    let others = [
        ghost(secret, &changed, room(), case.alice.inviter()),
        ghost(secret, payload, other_room, case.alice.inviter()),
        ghost(secret, payload, room(), Alice::of(9).inviter()),
        ghost(
            &InviteSecret::from_bytes([1; 32]),
            payload,
            room(),
            case.alice.inviter(),
        ),
    ];
    for (at, other) in others.iter().enumerate() {
        assert_ne!(first, *other);
        assert!(!others[..at].contains(other));
    }
    // A replay, and a second request with the same address: the same ghost under another request id.
    let draft = RequestDraft {
        sealed: &request.sealed,
        room: room(),
        expires_ts: NOW + HOUR,
    };
    let again = draft.sign_as_ghost(&Rng::seeded(99), &case.alice.ghost, &case.alice.key);
    let again = received(&again.content, &case.alice.ghost).expect("a request");
    let b = &case.b;
    let prepared = answer(&again, secret, &b.namespace, &b.server_key);
    assert_eq!(prepared.content["ghost"], case.content["ghost"]);
    let replayed = answer(request, secret, &b.namespace, &b.server_key);
    assert_eq!(replayed.content, case.content);
}

#[test]
fn answers_of_all_kinds_have_one_shape() {
    // Different invitees, and one who does not exist: the same fields and lengths.
    let (alice, b) = (Alice::new(), b());
    let mut shapes = std::collections::HashSet::new();
    for name in [
        "bob",
        "carol",
        "nobody-of-that-name-anywhere-on-this-server",
        "x",
    ] {
        let user = ruma::OwnedUserId::try_from(format!("@{name}:b.example")).expect("a user");
        let sealing = Sealing::Bound {
            user: &user,
            room: room(),
            inviter: alice.inviter(),
        };
        let sealed = seal(&Rng::os(), &b.hpke.public(), sealing, NOW + DAY).expect("sealed");
        let content = alice.requests(&sealed).content;
        let request = received(&content, &alice.ghost).expect("a request");
        let prepared = answer(&request, &b.secret, &b.namespace, &b.server_key);
        let fields: Vec<_> = prepared
            .content
            .as_object()
            .expect("an object")
            .keys()
            .cloned()
            .collect();
        shapes.insert((fields, json(&content).len(), json(&prepared.content).len()));
    }
    assert_eq!(shapes.len(), 1, "{shapes:?}");
}

#[test]
fn the_error_is_one_for_all() {
    let case = Case::new();
    let b = &case.b;
    let error = refuse(&case.request.reply_to, &b.namespace, &b.server_key);
    assert_eq!(case.reads(&error), Ok(Reply::Refused));
    assert_eq!(error["error"], "org.vizard.refused");
    // Whatever the fault, what is answered depends on the request's id and hash alone.
    let good = case.alice.requests(&case.alice.seals()).content;
    for (field, value) in [
        ("room_id", json!("nonsense")),
        ("expires_ts", json!(1)),
        ("to", json!("c.example")),
        ("signatures", json!({})),
    ] {
        let rejected = received(&with(&good, field, value), &case.alice.ghost).expect_err("wrong");
        let reply_to = rejected.reply_to.expect("it had an id");
        let content = refuse(&reply_to, &b.namespace, &b.server_key);
        let keys: Vec<_> = content
            .as_object()
            .expect("an object")
            .keys()
            .cloned()
            .collect();
        let same: Vec<_> = error
            .as_object()
            .expect("an object")
            .keys()
            .cloned()
            .collect();
        assert_eq!(keys, same);
        assert_eq!(json(&content).len(), json(&error).len());
    }
    // What cannot even be named gets no answer.
    let nameless = received(&with(&good, "request_id", 1), &case.alice.ghost).expect_err("wrong");
    assert_eq!(nameless.reply_to, None);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn every_deviation_is_told() {
    let case = Case::new();
    let b = &case.b;
    let field = |field, fault| ResponseFault::Shape(ShapeFault::Field { field, fault });
    let stranger = a();
    // A ghost of B for another room, one whose mapping another server signed, and one of another server.
    let other_room = Mapping::sign(
        &SenderKey::from_seed(&[1; 32]),
        &b.server,
        room_id!("!x"),
        &b.server_key,
    );
    let (key, server_key) = (SenderKey::from_seed(&[1; 32]), &stranger.server_key);
    let others = Mapping::sign(&key, &b.server, room(), server_key);
    let good_mapping = Mapping::sign(&key, &b.server, room(), &b.server_key);
    let with_ghost = |mapping: Value| {
        let content = case.signed("mapping", mapping);
        let ghost = json!(b.namespace.ghost(&key.id()));
        signed_with(&content, "ghost", ghost, |m| b.server_key.sign(m))
    };
    let mut two = case.content.clone();
    two["signatures"]["a.example"] = json!({});
    let impostor = format!("@mask_{}:b.example", key.id().to_localpart());
    let impostor = signed_with(&with_ghost(good_mapping.clone()), "ghost", impostor, |m| {
        b.server_key.sign(m)
    });
    for (content, expected) in [
        (json!(1), ResponseFault::Shape(ShapeFault::NotAnObject)),
        (
            case.signed("extra", 1),
            ResponseFault::Shape(ShapeFault::ExtraField),
        ),
        (
            case.signed("error", "org.vizard.refused"),
            ResponseFault::Shape(ShapeFault::ExtraField),
        ),
        (
            case.signed("type", "server_keys"),
            field("type", FieldFault::Differs),
        ),
        (
            case.signed("request_id", "AAAAAAAAAAAAAAAAAAAAAA"),
            ResponseFault::OtherRequest,
        ),
        (
            case.signed("request_hash", "AAAA"),
            ResponseFault::OtherRequest,
        ),
        (
            case.signed("ghost", "amber"),
            field("ghost", FieldFault::Malformed),
        ),
        (
            case.signed("ghost", stranger.namespace.ghost(&key.id()).as_str()),
            ResponseFault::OtherGhost,
        ),
        (
            case.signed("ghost", "@bob:b.example"),
            ResponseFault::Mapping(MappingError::NotAGhost),
        ),
        (impostor, ResponseFault::Mapping(MappingError::NotAGhost)),
        (
            with_ghost(other_room),
            ResponseFault::Mapping(MappingError::Field {
                field: "room_id",
                fault: FieldFault::Differs,
            }),
        ),
        (
            with_ghost(others),
            ResponseFault::Mapping(MappingError::Signature {
                signer: Signer::Server,
                fault: SignatureFault::UnknownKey,
            }),
        ),
        (
            with(
                &case.content,
                "ghost",
                b.namespace.ghost(&key.id()).as_str(),
            ),
            ResponseFault::Signature(SignatureFault::Wrong),
        ),
        (
            with(&case.content, "signatures", json!({})),
            ResponseFault::Signature(SignatureFault::Missing),
        ),
        (two, ResponseFault::Signers(SignersFault::TooMany)),
        // Signed by another Vizard, in its own name and in B's.
        (
            answer(
                &case.request,
                &stranger.secret,
                &stranger.namespace,
                &stranger.server_key,
            )
            .content,
            ResponseFault::Signature(SignatureFault::Missing),
        ),
        (
            answer(&case.request, &b.secret, &b.namespace, &stranger.server_key).content,
            ResponseFault::Signature(SignatureFault::UnknownKey),
        ),
    ] {
        assert_eq!(case.reads(&content), Err(expected), "{content}");
    }
    assert!(matches!(
        case.reads(&with_ghost(good_mapping)),
        Ok(Reply::Ghost { .. })
    ));
    let long = with(&case.content, "ghost", "x".repeat(MAX_MESSAGE));
    assert_eq!(
        case.reads(&long),
        Err(ResponseFault::Shape(ShapeFault::TooLong(MAX_MESSAGE)))
    );
}

#[test]
fn only_the_bot_that_was_asked_answers() {
    let case = Case::new();
    let content = json(&case.content);
    let (a, b) = (a(), &case.b);
    for (sender, document) in [
        (a.namespace.bot(), &b.document),
        (bob(), &b.document),
        (a.namespace.bot(), &a.document),
        (b.namespace.bot(), &a.document),
    ] {
        assert_eq!(
            Reply::parse(&content, sender, &case.asked, document),
            Err(ResponseFault::OtherSender)
        );
    }
    // To another request of the same inviter for the same room.
    let other = case.alice.requests(&Alice::of(9).seals());
    assert_eq!(
        Reply::parse(&content, b.namespace.bot(), &other.asked, &b.document),
        Err(ResponseFault::OtherRequest)
    );
}
