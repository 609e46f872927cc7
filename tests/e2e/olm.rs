//! What a Vizard sends from device to device, read on its way to the homeserver: that no step of an Olm ratchet was used twice.

use std::{
    collections::{HashMap, HashSet},
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context as _, Result, ensure};
use data_encoding::BASE64_NOPAD;
use serde_json::Value;

use crate::testkit::proxy::{Between, Onward, taken_apart};

/// Olm messages that were sent. Whoever stands in between gives them to it.
#[derive(Debug, Default)]
pub struct Olm(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// The message of each step, and the life in which it was sent first.
    steps: HashMap<Step, (Vec<u8>, usize)>,
    life: usize,
    wrong: Vec<String>,
}

/// A ratchet key and an index in its chain. The key is the sender's own, so no two senders or sessions share one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Step {
    ratchet: Vec<u8>,
    index: u64,
}

/// How much there was to look at.
#[derive(Debug)]
pub struct Steps {
    pub messages: usize,
    /// Chains that went on after a kill.
    pub outlived: usize,
}

impl Olm {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next requests come from a process that was started anew.
    pub fn begin_life(&self) {
        self.lock().life += 1;
    }

    /// Looks at a request, whatever it is.
    pub fn keep(&self, path: &str, body: &[u8]) {
        if !path.contains("/sendToDevice/m.room.encrypted/") {
            return;
        }
        let mut kept = self.lock();
        if let Err(error) = kept.take(body) {
            kept.wrong.push(format!("{error:#}"));
        }
    }

    /// Fails if a step encrypted two messages.
    pub fn no_step_is_used_twice(&self) -> Result<Steps> {
        let kept = self.lock();
        ensure!(kept.wrong.is_empty(), "{:#?}", kept.wrong);
        let mut lives: HashMap<&[u8], HashSet<usize>> = HashMap::new();
        for (step, (_, life)) in &kept.steps {
            lives.entry(&step.ratchet).or_default().insert(*life);
        }
        Ok(Steps {
            messages: kept.steps.len(),
            outlived: lives.values().filter(|lives| lives.len() > 1).count(),
        })
    }
}

impl Kept {
    fn take(&mut self, body: &[u8]) -> Result<()> {
        let body: Value = serde_json::from_slice(body)?;
        let users = body["messages"].as_object().context("no messages")?;
        let devices = users.values().filter_map(Value::as_object);
        for content in devices.flat_map(|devices| devices.values()) {
            let ciphertexts = content["ciphertext"].as_object().context("no ciphertext")?;
            for one in ciphertexts.values() {
                let (step, message) = read(one)?;
                match self.steps.get(&step) {
                    None => {
                        let life = self.life;
                        self.steps.insert(step, (message, life));
                    }
                    // The same request once more.
                    Some((before, _)) if *before == message => {}
                    Some((_, life)) => self.wrong.push(format!(
                        "a step (chain index {}) was used in life {life} and, for another message, in life {}",
                        step.index, self.life
                    )),
                }
            }
        }
        Ok(())
    }
}

/// The step that encrypted a message, and the message itself, without what only the first ones of a session are wrapped in.
fn read(ciphertext: &Value) -> Result<(Step, Vec<u8>)> {
    let body = ciphertext["body"].as_str().context("no body")?;
    let mut message = BASE64_NOPAD.decode(body.trim_end_matches('=').as_bytes())?;
    if ciphertext["type"] == 0 {
        // One-time key, base key, identity key and, last, what it wraps.
        let inner = fields(&message)?.remove(&0x22).context("no message")?;
        message = inner.bytes()?;
    }
    let mut read = fields(&message)?;
    let ratchet = read.remove(&0x0a).context("no ratchet key")?.bytes()?;
    let index = match read.remove(&0x10).context("no chain index")? {
        Field::Number(index) => index,
        Field::Bytes(_) => anyhow::bail!("a chain index of bytes"),
    };
    Ok((Step { ratchet, index }, message))
}

enum Field {
    Number(u64),
    Bytes(Vec<u8>),
}

impl Field {
    fn bytes(self) -> Result<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Number(_) => anyhow::bail!("a number where bytes should be"),
        }
    }
}

/// The fields of an Olm message by their tags: version 3, then tags with varints or with lengths and bytes. What follows the
/// ciphertext (tag 0x22) is the MAC.
fn fields(message: &[u8]) -> Result<HashMap<u8, Field>> {
    let mut rest = message.strip_prefix(&[3]).context("not version 3")?;
    let mut found = HashMap::new();
    while let Some((tag, after)) = rest.split_first() {
        let (number, after) = varint(after)?;
        let field = if tag % 8 == 0 {
            rest = after;
            Field::Number(number)
        } else {
            let length = usize::try_from(number)?;
            let bytes = after.get(..length).context("a field without an end")?;
            rest = &after[length..];
            Field::Bytes(bytes.to_vec())
        };
        found.insert(*tag, field);
        if *tag == 0x22 {
            break;
        }
    }
    Ok(found)
}

fn varint(bytes: &[u8]) -> Result<(u64, &[u8])> {
    let mut number = 0;
    for (place, byte) in bytes.iter().enumerate().take(9) {
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Ok((number, &bytes[place + 1..]));
        }
    }
    anyhow::bail!("a number without an end")
}

/// Between a Vizard and its homeserver. Dropping it ends it.
pub struct Tap {
    pub between: Between,
    pub olm: Arc<Olm>,
}

impl Tap {
    /// Passes everything on to the homeserver at `to`.
    pub async fn start(to: &str) -> Result<Self> {
        let onward = Onward::to(to);
        let olm = Arc::<Olm>::default();
        let kept = Arc::clone(&olm);
        let answer = move |request| {
            let (onward, kept) = (onward.clone(), Arc::clone(&kept));
            async move {
                let (parts, body) = taken_apart(request).await?;
                kept.keep(parts.uri.path(), &body);
                onward.pass(parts, body).await
            }
        };
        let between = Between::start(Ipv4Addr::LOCALHOST.into(), answer).await?;
        Ok(Self { between, olm })
    }
}

#[test]
fn a_step_that_is_used_twice_is_found() {
    let message = |index: u8, said: &[u8]| {
        let mut bytes = vec![3, 0x0a, 2, 7, 7, 0x10, index, 0x22];
        bytes.push(u8::try_from(said.len()).unwrap());
        bytes.extend(said);
        bytes.extend([9; 8]);
        bytes
    };
    let first = |inner: &[u8]| {
        let mut bytes = vec![3, 0x0a, 1, 5, 0x12, 1, 5, 0x1a, 1, 5, 0x22];
        bytes.push(u8::try_from(inner.len()).unwrap());
        bytes.extend(inner);
        bytes
    };
    let olm = Olm::default();
    let send = |kind: u8, bytes: &[u8]| {
        let body = serde_json::json!({"messages": {"@u:s": {"D": {"ciphertext": {"key": {
            "type": kind, "body": BASE64_NOPAD.encode(bytes),
        }}}}}});
        let path = "/_matrix/client/v3/sendToDevice/m.room.encrypted/1";
        olm.keep(path, body.to_string().as_bytes());
    };
    send(0, &first(&message(0, b"one")));
    send(1, &message(0, b"one"));
    olm.begin_life();
    send(1, &message(1, b"two"));
    let steps = olm.no_step_is_used_twice().unwrap();
    assert_eq!((steps.messages, steps.outlived), (2, 1));
    send(0, &first(&message(1, b"three")));
    assert!(olm.no_step_is_used_twice().is_err());
}
