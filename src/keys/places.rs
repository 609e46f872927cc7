//! The two places at which another Vizard publishes its keys: which of them are asked, and whose profile the second one is. Called by
//! `peers`. A place that does not count is not asked, and does not say where the other one is.

use std::time::Duration;

use ruma::{OwnedUserId, ServerName, UserId};
use url::Url;

use super::PROFILE_FIELD;
use crate::{
    clock::UnixMillis,
    homeserver::{Actor, Homeserver},
    peer::{FetchError, Fetcher},
    pseudonym::ServerKeyId,
    sealed::{DocumentError, Found, KeyDocument, Place},
};

/// For what one's own homeserver says of another's.
const RELAY: Duration = Duration::from_secs(15);

/// What is looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sought<'a> {
    /// Whose keys.
    pub(super) server: &'a ServerName,
    /// Where the admin says that they are, in the place of the server itself.
    pub(super) url: Option<&'a Url>,
    /// The key that the admin wrote into the configuration, which decides in the place of `only`.
    pub(super) by_hand: Option<ServerKeyId>,
    /// The one place that counts.
    pub(super) only: Option<Place>,
    /// What is pinned, as far as it counts.
    pub(super) pinned: Option<&'a KeyDocument>,
}

/// Who is asked.
#[derive(Debug)]
pub(super) struct Places {
    homeserver: Homeserver,
    bot: Actor,
    fetcher: Fetcher,
}

impl Places {
    pub(super) fn new(homeserver: Homeserver, bot: Actor, fetcher: Fetcher) -> Self {
        Self {
            homeserver,
            bot,
            fetcher,
        }
    }

    /// What is found, and why there is nothing over TLS.
    pub(super) async fn look(
        &self,
        sought: Sought<'_>,
        now: UnixMillis,
    ) -> (Found, Option<FetchError>) {
        let Sought { server, url, .. } = sought;
        let only = sought.only.filter(|_| sought.by_hand.is_none());
        let (tls, why) = match only {
            Some(Place::Federation) => (None, None),
            _ => match self.fetcher.document(server, url).await {
                Ok(document) => (Some(KeyDocument::parse(&document, server, now)), None),
                Err(error) => (None, Some(error)),
            },
        };
        let over_tls = tls.as_ref().and_then(|found| found.as_ref().ok());
        let bot = self.bot_of(sought, over_tls);
        let federation = match only {
            Some(Place::Tls) => None,
            _ => self.relayed(server, &bot, now).await,
        };
        (Found { tls, federation }, why)
    }

    /// The bot whose profile counts: as the document over TLS names it, or the pinned one; or else it is named like one's own.
    fn bot_of(&self, sought: Sought<'_>, over_tls: Option<&KeyDocument>) -> OwnedUserId {
        let signed = |document: &&KeyDocument| is_signed_by(document, sought.by_hand);
        let named = over_tls.filter(signed).or(sought.pinned);
        named.map_or_else(
            || {
                let own = &self.bot.user;
                UserId::parse_with_server_name(own.localpart(), sought.server)
                    .unwrap_or_else(|_| own.clone())
            },
            |document| document.bot().to_owned(),
        )
    }

    /// The document in the profile of the other bot, as one's own homeserver relays it. One that forbids looking is as one
    /// without.
    async fn relayed(
        &self,
        server: &ServerName,
        bot: &UserId,
        now: UnixMillis,
    ) -> Option<Result<KeyDocument, DocumentError>> {
        let asking = self.homeserver.profile_field(&self.bot, bot, PROFILE_FIELD);
        let value = tokio::time::timeout(RELAY, asking).await.ok()?.ok()??;
        Some(KeyDocument::parse(
            value.to_string().as_bytes(),
            server,
            now,
        ))
    }
}

/// Whether a document is signed by the key that the admin wrote into the configuration, if there is one.
pub(super) fn is_signed_by(document: &KeyDocument, by_hand: Option<ServerKeyId>) -> bool {
    by_hand.is_none_or(|key| document.signers().contains(&key))
}
