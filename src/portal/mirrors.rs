//! Mirrors: the stand-ins of other members in one portal, made when a member first speaks.

use ruma::{OwnedMxcUri, UserId};
use serde::Deserialize;

use super::{Deps, PortalError, avatars::copy_avatar};
use crate::{
    homeserver::{Actor, Class},
    rewrite::clean_name,
    store::{Mirror, Portal, Puppet},
};

/// How stale a stored "last heard" may be, in milliseconds: it is not written for every message. What is newer is in memory.
const HEARD_GRAIN: u64 = 3_600_000;

/// What a member event says of a member.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct MemberProfile {
    /// Display name in the room.
    pub displayname: Option<String>,
    /// Avatar in the room.
    pub avatar_url: Option<OwnedMxcUri>,
}

impl Deps {
    /// A mirror, as an actor.
    #[must_use]
    pub fn mirror(&self, mirror: &Mirror) -> Actor {
        Actor {
            user: mirror.puppet.id.clone(),
            device: mirror.puppet.device.clone(),
        }
    }

    /// The mirror of `member`, in the portal room and ready to speak. `known` is the caller's copy, if it has one.
    pub async fn ready_mirror(
        &self,
        portal: &Portal,
        member: &UserId,
        known: Option<Mirror>,
    ) -> Result<Mirror, PortalError> {
        let now = self.clock.now();
        self.heard.note((portal.id, member), now);
        let fresh =
            |mirror: &Mirror| mirror.joined && now.saturating_sub(mirror.heard) <= HEARD_GRAIN;
        // Only the store's own copy is ever written back: the caller's may have a device that was lost since.
        let stored = match known {
            Some(mirror) if fresh(&mirror) => return Ok(mirror),
            Some(known) => {
                let stored = self.store.mirror(portal.id, member).await?;
                stored.map(|mirror| Mirror {
                    joined: known.joined,
                    ..mirror
                })
            }
            None => self.store.mirror(portal.id, member).await?,
        };
        if let Some(mut mirror) = stored.clone().filter(|mirror| mirror.joined) {
            if !fresh(&mirror) {
                if mirror.avatar.is_none() {
                    // There may be one by now that could not be had.
                    let profile = self.member_profile(portal, member).await?;
                    self.dress_mirror(portal, &mut mirror, &profile).await?;
                }
                mirror.heard = now;
                self.store.save_mirror(portal.id, &mirror).await?;
            }
            return Ok(mirror);
        }
        let Some(room) = &portal.portal_room else {
            return Err(PortalError::Gone);
        };
        let mut mirror = match stored {
            Some(mirror) => mirror,
            None => self.new_mirror(portal, member).await?,
        };
        if let Some(device) = &mirror.puppet.device {
            self.settle(&mirror.puppet.id, device).await?;
        }
        let profile = self.member_profile(portal, member).await?;
        self.dress_mirror(portal, &mut mirror, &profile).await?;
        self.make_room(portal).await?;
        self.homeserver
            .invite(&self.host(portal), room, &mirror.puppet.id)
            .await?;
        let nothing = serde_json::json!({});
        self.homeserver
            .join(
                &self.mirror(&mirror),
                <&ruma::RoomOrAliasId>::from(&**room),
                &[],
                &nothing,
            )
            .await?;
        mirror.joined = true;
        mirror.heard = now;
        self.store.save_mirror(portal.id, &mirror).await?;
        Ok(mirror)
    }

    /// Writes the mirror's id and device down before anything is asked of the homeserver.
    async fn new_mirror(&self, portal: &Portal, member: &UserId) -> Result<Mirror, PortalError> {
        let mut derived = [0; 16];
        derived.copy_from_slice(
            &self
                .store
                .derive("mirror", &[&portal.id.0, member.as_bytes()])[..16],
        );
        let mirror = Mirror {
            puppet: Puppet {
                id: self.namespace.mirror(&derived),
                device: Some(self.device_id()),
                former: None,
            },
            member: member.to_owned(),
            name: None,
            avatar: None,
            joined: false,
            heard: 0,
        };
        self.store.save_mirror(portal.id, &mirror).await?;
        Ok(mirror)
    }

    /// The member's name and avatar in the room.
    pub async fn member_profile(
        &self,
        portal: &Portal,
        member: &UserId,
    ) -> Result<MemberProfile, PortalError> {
        let content = match self
            .homeserver
            .state_event(
                &self.ghost(portal),
                &portal.room,
                "m.room.member",
                member.as_str(),
            )
            .await
        {
            Ok(content) => content,
            Err(error) if error.class() == Class::GiveUp => None,
            Err(error) => return Err(error.into()),
        };
        Ok(content
            .and_then(|content| serde_json::from_str(content.get()).ok())
            .unwrap_or_default())
    }

    /// Gives a mirror the member's name and avatar, if they differ from what it has.
    pub async fn dress_mirror(
        &self,
        portal: &Portal,
        mirror: &mut Mirror,
        profile: &MemberProfile,
    ) -> Result<(), PortalError> {
        let actor = self.mirror(mirror);
        let name = profile
            .displayname
            .as_deref()
            .map(clean_name)
            .filter(|name| !name.is_empty());
        let name = name.unwrap_or_else(|| mirror.member.localpart().to_owned());
        let mut changed = false;
        if mirror.name.as_deref() != Some(&name) {
            self.homeserver.set_displayname(&actor, &name).await?;
            mirror.name = Some(name);
            changed = true;
        }
        if mirror.avatar.as_ref().map(|(remote, _)| remote) != profile.avatar_url.as_ref() {
            let copy = match &profile.avatar_url {
                Some(remote) => copy_avatar(self, &self.ghost(portal), &actor, remote).await?,
                None => None,
            };
            if copy.is_some() || mirror.avatar.is_some() {
                self.homeserver.set_avatar(&actor, copy.as_deref()).await?;
                changed = true;
            }
            mirror.avatar = profile.avatar_url.clone().zip(copy);
        }
        if changed {
            self.store.save_mirror(portal.id, mirror).await?;
        }
        Ok(())
    }

    /// Lets the mirror that was heard longest ago leave, when the portal is full.
    async fn make_room(&self, portal: &Portal) -> Result<(), PortalError> {
        let mut joined: Vec<Mirror> = self
            .store
            .mirrors(portal.id)
            .await?
            .into_iter()
            .filter(|mirror| mirror.joined)
            .collect();
        joined.sort_by_key(|mirror| {
            let lately = self.heard.at((portal.id, &*mirror.member));
            std::cmp::Reverse(mirror.heard.max(lately))
        });
        while joined.len() >= self.config.portal.max_mirrors.max(1) {
            let Some(oldest) = joined.pop() else { break };
            self.dismiss_mirror(portal, oldest).await?;
        }
        Ok(())
    }

    /// Lets a mirror leave the portal room; one that cannot is removed.
    pub async fn dismiss_mirror(
        &self,
        portal: &Portal,
        mut mirror: Mirror,
    ) -> Result<(), PortalError> {
        if let (true, Some(room)) = (mirror.joined, &portal.portal_room) {
            if let Err(error) = self.homeserver.leave(&self.mirror(&mirror), room).await {
                if error.class() == Class::Retry {
                    return Err(error.into());
                }
                // An admin may have deactivated it. It must not stand in the way of others, nor of an end.
                let host = self.host(portal);
                if let Err(error) = self.homeserver.kick(&host, room, &mirror.puppet.id).await
                    && error.class() == Class::Retry
                {
                    return Err(error.into());
                }
            }
            mirror.joined = false;
            self.store.save_mirror(portal.id, &mirror).await?;
        }
        Ok(())
    }
}
