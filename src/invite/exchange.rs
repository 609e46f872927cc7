//! One question to another Vizard, and its answer. Messages from device to device may be lost, so the question is put more than once;
//! the answer is the same each time. What others say meanwhile is counted and changes nothing.

use std::{collections::BTreeMap, pin::pin, time::Duration};

use data_encoding::HEXLOWER;
use serde_json::{Value, json};

use crate::{
    clock::UnixMillis,
    homeserver::{self, Actor, Class},
    portal::{Answering, Deps, PortalError},
    sealed::{Asked, KeyDocument, REQUEST_TYPE, Reply},
    store::{Asking, InviteTask},
};

/// How often the question is put.
const TIMES: u64 = 3;
/// How long the homeserver may keep the ghost's device waiting at once.
const POLL: Duration = Duration::from_secs(20);
/// Between two syncs of a device that cannot wait.
const PAUSE: Duration = Duration::from_secs(1);
/// For a sync that is under way when the answer is there.
const GRACE: Duration = Duration::from_secs(2);

/// Asks, and waits for the answer as long as the settings say; `None`: there was none.
pub(super) async fn ask(
    deps: &Deps,
    actor: &Actor,
    task: &InviteTask,
    asking: &Asking,
    document: &KeyDocument,
) -> Result<Option<Reply>, PortalError> {
    let asked = Asked {
        request_id: asking.id.clone(),
        request_hash: asking.hash.clone(),
        server: asking.server.clone(),
        room: task.room.clone(),
    };
    let mut answering = deps.answers.expect(&asking.id);
    let part = deps.config.invites.timeout * 1000 / TIMES;
    for _ in 0..TIMES {
        put(deps, actor, asking, document).await?;
        let until = deps.clock.now() + part;
        if let Some(reply) = hear(deps, actor, &mut answering, &asked, document, until).await? {
            return Ok(Some(reply));
        }
    }
    Ok(None)
}

/// Puts the question. Each time as another message: a homeserver that knows one does not send it again.
async fn put(
    deps: &Deps,
    actor: &Actor,
    asking: &Asking,
    document: &KeyDocument,
) -> Result<(), PortalError> {
    let content: Value = serde_json::from_str(&asking.content)
        .map_err(|_| homeserver::Error::Answer("a stored request"))?;
    let messages = BTreeMap::from([(document.bot(), json!({ "*": content }))]);
    let txn_id = HEXLOWER.encode(&deps.rng.bytes::<16>());
    deps.homeserver
        .send_to_device(actor, REQUEST_TYPE, &txn_id, &messages)
        .await?;
    Ok(())
}

/// Waits for the answer until then.
async fn hear(
    deps: &Deps,
    actor: &Actor,
    answering: &mut Answering,
    asked: &Asked,
    document: &KeyDocument,
    until: UnixMillis,
) -> Result<Option<Reply>, PortalError> {
    loop {
        let left = until.saturating_sub(deps.clock.now());
        if left == 0 {
            return Ok(None);
        }
        let mut listening = pin!(listen(deps, actor, Duration::from_millis(left).min(POLL)));
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
        let content = mail.content.get().as_bytes();
        match Reply::parse(content, &mail.sender, asked, document) {
            Ok(reply) => return Ok(Some(reply)),
            Err(fault) => {
                metrics::counter!("vizard_invite_answers_ignored_total", "why" => fault.name())
                    .increment(1);
                tracing::debug!(why = fault.name(), "an answer to an invite is ignored");
            }
        }
    }
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
