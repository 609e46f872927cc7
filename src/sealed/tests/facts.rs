//! The verdict, over all facts.

use super::*;

type Change = fn(&mut Facts);

const FINE: Facts = Facts {
    address: AddressState::Live,
    user_exists: true,
    may_use: true,
    user_banned: false,
    room_denied: false,
    peer_denied: false,
    blocks_inviter: false,
    blocks_server: false,
    blocks_address: false,
    peer_over_quota: false,
    inviter_over_quota: false,
    invitee_over_quota: false,
    forgotten: false,
    was_in_room: false,
    in_room: false,
};

#[test]
fn each_fact_alone_makes_a_decoy() {
    assert_eq!(verdict(&FINE), Verdict::Real);
    let changes: [(Change, Reason); 18] = [
        (
            |f| f.address = AddressState::Unknown,
            Reason::UnknownAddress,
        ),
        (
            |f| f.address = AddressState::Revoked,
            Reason::RevokedAddress,
        ),
        (
            |f| f.address = AddressState::Expired,
            Reason::ExpiredAddress,
        ),
        (|f| f.address = AddressState::Used, Reason::UsedAddress),
        (|f| f.user_exists = false, Reason::UnknownUser),
        (|f| f.may_use = false, Reason::MayNotUse),
        (|f| f.user_banned = true, Reason::UserBanned),
        (|f| f.room_denied = true, Reason::RoomDenied),
        (|f| f.peer_denied = true, Reason::PeerDenied),
        (|f| f.blocks_inviter = true, Reason::BlockedInviter),
        (|f| f.blocks_server = true, Reason::BlockedServer),
        (|f| f.blocks_address = true, Reason::BlockedAddress),
        (|f| f.peer_over_quota = true, Reason::PeerOverQuota),
        (|f| f.inviter_over_quota = true, Reason::InviterOverQuota),
        (|f| f.invitee_over_quota = true, Reason::InviteeOverQuota),
        (|f| f.forgotten = true, Reason::Forgotten),
        (|f| f.was_in_room = true, Reason::WasInRoom),
        (|f| f.in_room = true, Reason::InRoom),
    ];
    let mut names = std::collections::HashSet::new();
    for (at, (change, reason)) in changes.iter().enumerate() {
        let mut facts = FINE;
        change(&mut facts);
        assert_eq!(verdict(&facts), Verdict::Decoy(*reason));
        assert!(names.insert(reason.name()));
        // With any that comes later, it stays the reason: who is blocked never has the invitee told of the room.
        for (later, _) in &changes[at.max(4)..] {
            let mut facts = facts;
            later(&mut facts);
            assert_eq!(verdict(&facts), Verdict::Decoy(*reason));
        }
        assert_eq!(
            reason.is_told_to_the_user(),
            matches!(reason, Reason::WasInRoom | Reason::InRoom)
        );
    }
}

#[test]
fn the_state_of_an_address() {
    let opened = |target, kind| Opened {
        target,
        kind,
        expires_ts: NOW + 1,
    };
    let user = opened(Target::User(bob().to_owned()), Kind::Bound);
    let contact = opened(Target::Contact([1; CONTACT_ID]), Kind::Contact);
    for (of, revoked, used, now, expected) in [
        (&user, None, false, NOW, AddressState::Live),
        (&user, None, true, NOW, AddressState::Used),
        (&user, None, false, NOW + 1, AddressState::Expired),
        (&user, None, true, NOW + 1, AddressState::Expired),
        (&contact, None, false, NOW, AddressState::Unknown),
        (&contact, Some(true), false, NOW, AddressState::Revoked),
        (&contact, Some(false), false, NOW, AddressState::Live),
        (&contact, Some(false), true, NOW, AddressState::Live),
        (&contact, Some(false), false, NOW + 1, AddressState::Expired),
    ] {
        assert_eq!(AddressState::of(of, revoked, used, now), expected);
    }
}
