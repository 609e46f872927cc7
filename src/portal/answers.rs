//! Answers that are waited for: from whoever reads them to whoever asked. In memory only; who asked asks again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::mpsc;

use crate::e2ee::Mail;

/// Answers to one question that are kept until they are read.
const KEPT: usize = 4;

type Waiting = HashMap<String, mpsc::Sender<Mail>>;

/// Who waits for what. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Answers(Arc<Mutex<Waiting>>);

/// Somebody who waits, until it is dropped.
#[derive(Debug)]
pub struct Answering {
    answers: Answers,
    id: String,
    receiver: mpsc::Receiver<Mail>,
}

impl Answers {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for answers to the question of this id.
    #[must_use]
    pub fn expect(&self, id: &str) -> Answering {
        let (sender, receiver) = mpsc::channel(KEPT);
        self.lock().insert(id.to_owned(), sender);
        Answering {
            answers: self.clone(),
            id: id.to_owned(),
            receiver,
        }
    }

    /// Hands over an answer; `false`: nobody waits for it.
    #[must_use]
    pub fn give(&self, id: &str, mail: Mail) -> bool {
        let waiting = self.lock().get(id).cloned();
        waiting.is_some_and(|waiting| waiting.try_send(mail).is_ok())
    }
}

impl Answering {
    /// The next answer. It may be anybody's.
    pub async fn next(&mut self) -> Mail {
        match self.receiver.recv().await {
            Some(mail) => mail,
            // Asked again by somebody else.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.receiver.close();
        let mut waiting = self.answers.lock();
        if waiting.get(&self.id).is_some_and(mpsc::Sender::is_closed) {
            waiting.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(body: &str) -> Mail {
        Mail {
            to: ruma::owned_user_id!("@g:x"),
            sender: ruma::owned_user_id!("@b:y"),
            kind: "org.vizard.x".to_owned(),
            content: serde_json::value::to_raw_value(body).unwrap(),
            received: 0,
        }
    }

    #[tokio::test]
    async fn answers_reach_who_asked_and_nobody_else() {
        let answers = Answers::default();
        assert!(!answers.give("1", mail("a")));
        let mut first = answers.expect("1");
        let second = answers.expect("2");
        assert!(answers.give("1", mail("b")));
        assert_eq!(first.next().await.content.get(), "\"b\"");
        drop(second);
        assert!(!answers.give("2", mail("c")));
        let again = answers.expect("1");
        drop(first);
        assert!(answers.give("1", mail("d")), "the newer one still waits");
        for _ in 0..2 * KEPT {
            let _ = answers.give("1", mail("e"));
        }
        drop(again);
        assert!(answers.lock().is_empty());
    }
}
