//! Messages with files, both ways: copies the files (`portal::media`), sends the content that names the copies, and says
//! what to do where that cannot be done.

use std::time::Duration;

use ruma::{OwnedEventId, RoomId};

use super::{Done, Relay};
use crate::{
    clock::UnixMillis,
    config::UnknownMedia,
    event::Event,
    media::{Class, Kind, Why},
    portal::{CopyError, Deps, PortalError, Way},
    rewrite::{Attachment, Placed, Scrubbed},
    store::Portal,
};

/// How often the lane tries to fetch a file that its server does not give, while the own homeserver answers. Then the
/// message is told of without its file, so that one server that is away does not stop a conversation.
const TRIES: u32 = 3;

/// How soon it is looked again whether there is room for a file on the disk.
const ROOM_EVERY: Duration = Duration::from_secs(5);

/// The copies made for one event, kept while its message is tried again.
#[derive(Debug, Default)]
pub(super) struct Copies {
    event: Option<OwnedEventId>,
    placed: Option<Placed>,
    failures: u32,
}

/// What became of an outbound attachment.
pub(super) enum Fate {
    /// It went out.
    Sent(Done),
    /// The user was told why not.
    Told,
    /// The user was asked.
    Held,
}

impl Relay {
    /// Portal → room. `approved`: the user has seen what the guard found; and with `Some(true)`, that the file cannot be cleaned.
    pub(super) async fn attachment_outbound(
        &mut self,
        deps: &Deps,
        portal: &Portal,
        event: &Event,
        received: UnixMillis,
        attachment: &Attachment,
        approved: Option<bool>,
    ) -> Result<Fate, PortalError> {
        if let (None, Some(words)) = (approved, attachment.words())
            && let Some(found) = self.names_the_user(deps, portal, event, &words).await?
        {
            self.hold(deps, portal, event, &found).await?;
            return Ok(Fate::Held);
        }
        let policy = deps.config.media.unknown;
        let way = Way {
            reader: &deps.host(portal),
            owner: &deps.ghost(portal),
            encrypted: deps.encrypts(&deps.ghost(portal), &portal.room).await?,
            as_it_is: approved == Some(true) || policy == UnknownMedia::Send,
            payer: Some(&portal.user),
        };
        let why = match self.placed(deps, event, attachment, way).await {
            Ok(placed) => {
                let Some(content) = attachment.place(&placed) else {
                    self.not_sent(deps, portal, event, "it cannot be relayed")
                        .await?;
                    return Ok(Fate::Told);
                };
                let done = self
                    .send_as_ghost(deps, portal, event, received, content)
                    .await?;
                return Ok(Fate::Sent(done));
            }
            Err(CopyError::Portal(error)) => return Err(error),
            Err(CopyError::Unstrippable(why)) if policy == UnknownMedia::Ask => {
                self.hold_file(deps, portal, event, why).await?;
                return Ok(Fate::Held);
            }
            Err(why) => why,
        };
        metrics::counter!("vizard_failures_total", "class" => "media").increment(1);
        let advice = match &why {
            CopyError::TooLarge(_) => ". Make it smaller, or send a link to it",
            CopyError::OverAllowance(_) => ". Send it again tomorrow",
            CopyError::NoRoom(_) => ". Send it again later",
            CopyError::Unstrippable(_) => {
                ", and this server sends nothing that it could not clean of metadata. Send it as a JPEG, PNG, MP4 or PDF file"
            }
            CopyError::Gone | CopyError::Away(_) | CopyError::Unreadable => ". Attach it anew",
            CopyError::Portal(_) => "",
        };
        let text = format!("{}: {why}{advice}", attachment.name());
        self.not_sent(deps, portal, event, &text).await?;
        Ok(Fate::Told)
    }

    /// Room → portal: the content that the mirror sends, without a mark.
    pub(super) async fn attachment_inbound(
        &mut self,
        deps: &Deps,
        portal: &Portal,
        room: &RoomId,
        event: &Event,
        attachment: &Attachment,
    ) -> Result<Scrubbed, PortalError> {
        let mirror = deps.mirror(&self.mirror(deps, portal, event).await?);
        let way = Way {
            reader: &deps.ghost(portal),
            owner: &mirror,
            encrypted: deps.encrypts(&mirror, room).await?,
            // It comes from outside, and tells of others what they chose to tell.
            as_it_is: true,
            payer: None,
        };
        let content = match self.placed(deps, event, attachment, way).await {
            Ok(placed) => attachment.place(&placed),
            Err(CopyError::Portal(error)) => return Err(error),
            Err(why) => {
                metrics::counter!("vizard_failures_total", "class" => "media").increment(1);
                let text = format!("{} that could not be fetched: {why}", attachment.name());
                Some(Scrubbed::notice(&text))
            }
        };
        Ok(content.unwrap_or_else(|| {
            Scrubbed::notice(&format!("{}: cannot be shown here", attachment.name()))
        }))
    }

    /// The copies of an attachment's files, made once however often its message is tried.
    async fn placed(
        &mut self,
        deps: &Deps,
        event: &Event,
        attachment: &Attachment,
        way: Way<'_>,
    ) -> Result<Placed, CopyError> {
        if self.copies.event.as_ref() != Some(&event.event_id) {
            self.copies = Copies {
                event: Some(event.event_id.clone()),
                ..Copies::default()
            };
        }
        if let Some(placed) = &self.copies.placed {
            return Ok(placed.clone());
        }
        let _slot = deps.transfers.slot()?;
        let file = match deps
            .copy(way, attachment.file(), attachment.claimed())
            .await
        {
            Err(CopyError::Away(error)) => {
                // Where the homeserver itself is away, everything waits.
                if deps.homeserver.versions().await.is_ok() {
                    self.copies.failures += 1;
                }
                return Err(if self.copies.failures < TRIES {
                    PortalError::from(error).into()
                } else {
                    CopyError::Away(error)
                });
            }
            Err(CopyError::NoRoom(kind)) => {
                tracing::error!(%kind, "a file could not be written to the disk (media.directory)");
                self.copies.failures += 1;
                return Err(if self.copies.failures < TRIES {
                    PortalError::NotYet(ROOM_EVERY).into()
                } else {
                    CopyError::NoRoom(kind)
                });
            }
            other => other?,
        };
        let thumbnail = match attachment.thumbnail() {
            Some(thumbnail) => {
                let way = Way {
                    as_it_is: false,
                    ..way
                };
                let copy = deps.copy(way, thumbnail, Kind::claimed(None, None)).await;
                // It goes without one, too.
                copy.ok().filter(|copy| copy.kind.class() == Class::Image)
            }
            None => None,
        };
        let placed = Placed { file, thumbnail };
        self.copies.placed = Some(placed.clone());
        Ok(placed)
    }

    async fn hold_file(
        &mut self,
        deps: &Deps,
        portal: &Portal,
        event: &Event,
        why: Why,
    ) -> Result<Done, PortalError> {
        let text = format!(
            "Held back: this file may tell who made it, when and where, and that cannot be taken out ({why}). Reply `send` to this notice to send it as it is, or `discard` to drop it."
        );
        self.ask(deps, portal, event, &text, true).await
    }
}
