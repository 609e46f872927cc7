//! Members who cannot read what the ghost says, because its room key is kept back from their devices: told to the user, once
//! for each member.

use ruma::UserId;

use super::Relay;
use crate::{
    e2ee::KeptFrom,
    event::{Event, Withheld},
    portal::{Deps, PortalError},
    rewrite::clean_name,
    store::Portal,
};

/// Members named in one notice; the others are counted.
const NAMED: usize = 20;
/// Members of whom it is remembered that they were named. Beyond that the notice may come again.
const REMEMBERED: usize = 1000;

impl Relay {
    /// After the ghost spoke: says who cannot read it.
    pub(super) async fn tell_unread(
        &self,
        deps: &Deps,
        portal: &Portal,
        event: &Event,
    ) -> Result<(), PortalError> {
        let all = deps.e2ee.kept_from(&portal.ghost.id);
        if all.is_empty() {
            return Ok(());
        }
        let known = deps.portals.get(portal.id).await?;
        let new: Vec<_> = all
            .into_iter()
            .filter(|kept| !known.told_unread.contains(&kept.user))
            .collect();
        if !new.is_empty() {
            let mut lines = Vec::new();
            for kept in new.iter().take(NAMED) {
                let mirror = deps.store.mirror(portal.id, &kept.user).await?;
                let name = mirror.and_then(|mirror| mirror.name);
                lines.push(line(&kept.user, name.as_deref(), kept));
            }
            if new.len() > NAMED {
                lines.push(format!("The same goes for {} others.", new.len() - NAMED));
            }
            self.tell(deps, portal, &event.event_id, "unread", &lines.join("\n"))
                .await?;
            deps.portals
                .update(portal.id, |portal| {
                    let room = REMEMBERED.saturating_sub(portal.told_unread.len());
                    let users = new.iter().map(|kept| kept.user.clone());
                    portal.told_unread.extend(users.take(room));
                })
                .await?;
        }
        deps.e2ee.has_told(&portal.ghost.id);
        Ok(())
    }
}

fn line(user: &UserId, name: Option<&str>, kept: &KeptFrom) -> String {
    let name = name.map_or_else(|| user.to_string(), clean_name);
    let devices: Vec<_> = kept
        .devices
        .iter()
        .map(|id| clean_name(id.as_str()))
        .collect();
    let devices = devices.join(", ");
    let one = kept.devices.len() == 1;
    let why = match (kept.why, one) {
        (Withheld::Unverified, true) => "is not verified by its owner",
        (Withheld::Unverified, false) => "are not verified by their owner",
        (Withheld::NoOlm, _) => "could not be reached with a key",
        (_, true) => "is given no keys",
        (_, false) => "are given no keys",
    };
    let noun = if one { "device" } else { "devices" };
    if kept.all {
        format!("⚠ {name} cannot read you: their {noun} {devices} {why}.")
    } else {
        format!("⚠ {name} cannot read you everywhere: their {noun} {devices} {why}.")
    }
}

#[cfg(test)]
mod tests {
    use ruma::{owned_device_id, user_id};

    use super::*;

    #[test]
    fn who_cannot_read_and_why() {
        let bob = user_id!("@bob:x");
        let mut kept = KeptFrom {
            user: bob.to_owned(),
            devices: vec![owned_device_id!("PHONE")],
            all: true,
            why: Withheld::Unverified,
        };
        assert_eq!(
            line(bob, Some("Bob"), &kept),
            "⚠ Bob cannot read you: their device PHONE is not verified by its owner."
        );
        kept.all = false;
        kept.devices.push(owned_device_id!("DESK"));
        assert_eq!(
            line(bob, None, &kept),
            "⚠ @bob:x cannot read you everywhere: their devices PHONE, DESK are not verified by their owner."
        );
        kept.why = Withheld::NoOlm;
        assert!(line(bob, None, &kept).ends_with("could not be reached with a key."));
    }
}
