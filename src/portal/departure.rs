//! How soon a ghost leaves after its user left the portal: at once, unless others of the user leave with it.
//!
//! An account that is deactivated leaves all its portals within moments. If its ghosts left as quickly, everybody could tell
//! that they belong together. What was left lately stands in the user's sealed record, so a restart in between changes nothing.

use super::{Deps, PortalError};
use crate::{
    clock::UnixMillis,
    store::{Departure, Portal},
};

/// Portals left within this time count as left together, in milliseconds.
const TOGETHER: u64 = 600_000;

/// How long a departure is remembered, in milliseconds: Vizard may have been away for as long.
const REMEMBERED: u64 = 7 * 24 * 3_600_000;

impl Deps {
    /// How long the ghost of a portal that its user left at `sent` waits, in milliseconds: not at all, unless another portal
    /// of the user was left at about the same time; then some random part of the hours over which such things are spread.
    pub async fn until_departure(
        &self,
        portal: &Portal,
        sent: UnixMillis,
    ) -> Result<u64, PortalError> {
        let now = self.clock.now();
        let user = self
            .store
            .update_user(&portal.user, |user| {
                note(&mut user.departures, portal, sent, now);
            })
            .await?;
        let alone = user
            .departures
            .iter()
            .any(|departure| departure.portal == portal.id && departure.alone);
        Ok(if alone {
            0
        } else {
            self.rng
                .below(u64::from(self.config.privacy.spread_hours) * 3_600_000)
        })
    }
}

/// Notes a departure, and whether it is the only one for a while. The same one again, as after a crash, changes nothing.
fn note(departures: &mut Vec<Departure>, portal: &Portal, sent: UnixMillis, now: UnixMillis) {
    departures.retain(|other| now.saturating_sub(other.noted) < REMEMBERED);
    if departures
        .iter()
        .any(|other| other.portal == portal.id && other.sent == sent)
    {
        return;
    }
    departures.retain(|other| other.portal != portal.id);
    let alone = departures.iter().all(|other| {
        // By either clock: the account may be on another homeserver, and Vizard may have been away.
        other.sent.abs_diff(sent) >= TOGETHER && now.saturating_sub(other.noted) >= TOGETHER
    });
    departures.push(Departure {
        portal: portal.id,
        sent,
        noted: now,
        alone,
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{GhostRecord, PortalId, PortalState, Puppet, Shown};

    fn portal(number: u8) -> Portal {
        let id = ruma::owned_user_id!("@u:a.example");
        Portal {
            id: PortalId([number; 16]),
            user: id.clone(),
            room: ruma::owned_room_id!("!r:b.example"),
            via: Vec::new(),
            state: PortalState::Leaving,
            ghost: GhostRecord {
                id: id.clone(),
                seed: [0; 32].into(),
                device: None,
                former: None,
                nick: String::new(),
                ready: true,
            },
            host: Puppet {
                id,
                device: None,
                former: None,
            },
            portal_room: None,
            creating_room: false,
            user_joined: false,
            shown: Shown::default(),
            created: 0,
            successor: None,
            joined_at: 0,
            floors: Vec::new(),
            received: None,
            called: Vec::new(),
            told_pins: false,
            told_unread: Vec::new(),
            forgetting: false,
            replaced: Vec::new(),
            moved: None,
        }
    }

    #[test]
    fn departures_together_are_noticed() {
        let mut departures = Vec::new();
        let mut alone = |number, sent, now| {
            note(&mut departures, &portal(number), sent, now);
            departures.last().is_some_and(|departure| departure.alone)
        };
        assert!(alone(1, 1000, 1000));
        assert!(alone(1, 1000, 1001), "the same once more");
        assert!(!alone(2, 2000, 2000));
        assert!(!alone(2, 2000, 2001), "the same once more");
        // Handled long after, because Vizard was away; and the clock of another homeserver.
        assert!(!alone(3, 3000, 9_000_000));
        assert!(!alone(4, 77_000_000, 9_000_001));
        assert!(alone(5, 9_000_002 + 2 * TOGETHER, 9_000_002 + 2 * TOGETHER));
        assert!(alone(6, 2 * REMEMBERED, 2 * REMEMBERED));
        assert_eq!(departures.len(), 1, "what is old is forgotten");
    }
}
