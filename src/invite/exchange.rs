//! One question to another Vizard, and its answer. Messages from device to device may be lost, so the question is put more than once;
//! the answer is the same each time. What others say meanwhile is counted and changes nothing.

use std::{collections::BTreeMap, pin::pin, sync::Arc, time::Duration};

use data_encoding::HEXLOWER;
use ruma::RoomId;
use serde_json::{Value, json};

use crate::{
    clock::UnixMillis,
    e2ee::Mail,
    homeserver::{self, Actor, Class},
    keys::Unknown,
    portal::{Answering, Deps, PortalError},
    sealed::{Asked, KeyDocument, REQUEST_TYPE, Reply, ResponseFault},
    store::Asking,
};

/// How often the question is put.
const TIMES: u64 = 3;
/// How long the homeserver may keep the ghost's device waiting at once.
const POLL: Duration = Duration::from_secs(20);
/// Between two syncs of a device that cannot wait.
const PAUSE: Duration = Duration::from_secs(1);
/// For a sync that is under way when the answer is there.
const GRACE: Duration = Duration::from_secs(2);

/// A question, and what is needed to know its answer.
struct Exchange<'a> {
    deps: &'a Deps,
    actor: &'a Actor,
    asking: &'a Asking,
    asked: Asked,
    document: Arc<KeyDocument>,
    /// Whether the document was fetched anew for this question.
    renewed: bool,
}

/// Asks, and waits for the answer as long as the settings say; `None`: there was none.
pub(super) async fn ask(
    deps: &Deps,
    actor: &Actor,
    room: &RoomId,
    asking: &Asking,
    document: Arc<KeyDocument>,
) -> Result<Option<Reply>, PortalError> {
    let mut exchange = Exchange {
        deps,
        actor,
        asking,
        asked: Asked {
            request_id: asking.id.clone(),
            request_hash: asking.hash.clone(),
            server: asking.server.clone(),
            room: room.to_owned(),
        },
        document,
        renewed: false,
    };
    let mut answering = deps.answers.expect(&asking.id);
    let part = deps.config.invites.timeout * 1000 / TIMES;
    for _ in 0..TIMES {
        exchange.put().await?;
        let until = deps.clock.now() + part;
        if let Some(reply) = exchange.hear(&mut answering, until).await? {
            return Ok(Some(reply));
        }
    }
    Ok(None)
}

impl Exchange<'_> {
    /// Puts the question. Each time as another message: a homeserver that knows one does not send it again.
    async fn put(&self) -> Result<(), PortalError> {
        let content: Value = serde_json::from_str(&self.asking.content)
            .map_err(|_| homeserver::Error::Answer("a stored request"))?;
        let messages = BTreeMap::from([(self.document.bot(), json!({ "*": content }))]);
        let txn_id = HEXLOWER.encode(&self.deps.rng.bytes::<16>());
        self.deps
            .homeserver
            .send_to_device(self.actor, REQUEST_TYPE, &txn_id, &messages)
            .await?;
        Ok(())
    }

    /// Waits for the answer until then.
    async fn hear(
        &mut self,
        answering: &mut Answering,
        until: UnixMillis,
    ) -> Result<Option<Reply>, PortalError> {
        let (deps, actor) = (self.deps, self.actor);
        loop {
            let left = until.saturating_sub(deps.clock.now());
            if left == 0 {
                return Ok(None);
            }
            let left = Duration::from_millis(left).min(POLL);
            let mut listening = pin!(listen(deps, actor, left));
            let mail = tokio::select! {
                biased;
                mail = answering.next() => mail,
                heard = &mut listening => {
                    heard?;
                    continue;
                }
            };
            if *actor != deps.bot {
                // What brought the answer is not yet done with what came beside it.
                let _ = tokio::time::timeout(GRACE, listening).await;
            }
            if let Some(reply) = self.read(&mail).await {
                return Ok(Some(reply));
            }
        }
    }

    /// What an answer says, if it is one to this question from whom it was put to.
    async fn read(&mut self, mail: &Mail) -> Option<Reply> {
        // To another device than asked: what one pseudonym hears makes no other act.
        if mail.to != self.actor.user {
            ignored("other_recipient");
            return None;
        }
        let content = mail.content.get().as_bytes();
        let mut read = Reply::parse(content, &mail.sender, &self.asked, &self.document);
        if let Err(ResponseFault::Signature(_)) = read
            && !std::mem::replace(&mut self.renewed, true)
            && let Ok(document) = self.newest().await
        {
            // Its keys may have been replaced since they were fetched.
            self.document = document;
            read = Reply::parse(content, &mail.sender, &self.asked, &self.document);
        }
        read.map_err(|fault| ignored(fault.name())).ok()
    }

    async fn newest(&self) -> Result<Arc<KeyDocument>, Unknown> {
        let server = &self.asked.server;
        if server == self.deps.namespace.server() {
            return Ok(self.deps.keys.document());
        }
        self.deps.peers.fetch_now(server).await.map(Arc::new)
    }
}

fn ignored(why: &'static str) {
    metrics::counter!("vizard_invite_answers_ignored_total", "why" => why).increment(1);
    tracing::debug!(why, "an answer to an invite is ignored");
}

/// Lets the actor's device take in what comes for it, at most so long. The bot's does so all the time.
async fn listen(deps: &Deps, actor: &Actor, longest: Duration) -> Result<(), PortalError> {
    if *actor == deps.bot {
        deps.clock.sleep(longest).await;
        return Ok(());
    }
    let began = deps.clock.now();
    match deps.e2ee.wait_for_mail(actor, longest).await {
        Ok(true) => return Ok(()),
        Ok(false) => {
            let waited = Duration::from_millis(deps.clock.now().saturating_sub(began));
            if waited + PAUSE >= longest {
                return Ok(());
            }
        }
        Err(error) => {
            let error = PortalError::from(error);
            if error.lost_device().is_some() {
                return Err(error);
            }
            tracing::debug!(class = ?error.class(), "a ghost's device could not sync");
            if error.class() == Class::GiveUp {
                deps.clock.sleep(longest).await;
                return Ok(());
            }
        }
    }
    deps.clock.sleep(PAUSE.min(longest)).await;
    Ok(())
}
