//! A homeserver that answers everything Vizard asks, checks what it sends, and costs little.
//!
//! It listens on loopback in the bench's own process, on one thread, with kept connections. Message sends take a
//! short way of their own; everything else goes to [`api`].

mod api;
pub mod keys;
pub mod wire;
pub mod world;

use std::{
    collections::{BTreeSet, VecDeque},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use self::{
    api::Answer,
    keys::Keys,
    wire::{Client, Parsed, Request, decode},
    world::{BOT, World},
};
use crate::{
    event::{self, Mark},
    ledger::{Lane, Ledger, Sealed},
    push::Queue,
};

/// How long no request may come before all work counts as done.
const QUIET: Duration = Duration::from_millis(400);

/// How the stub behaves.
#[derive(Clone, Debug, Default)]
pub struct Behaviour {
    /// How long each request takes.
    pub latency: Duration,
    /// Whether the application service is shown its own messages, as Synapse does.
    pub echo_back: bool,
    /// Whether each sender must keep a user of its own (the bare echo has one for all).
    pub check_speakers: bool,
}

/// Everything behind the lock.
#[derive(Debug)]
pub struct State {
    pub world: World,
    pub keys: Keys,
    pub ledger: Ledger,
    pub behaviour: Behaviour,
    /// Requests that the stub does not know.
    pub unknown: BTreeSet<String>,
    /// The last things that the bot and hosts said.
    pub notices: VecDeque<String>,
}

/// The homeserver.
#[derive(Debug)]
pub struct Stub {
    state: Mutex<State>,
    pub queue: Arc<Queue>,
    pub address: SocketAddr,
    /// Where the application service listens, and the tokens: `as_token`, `hs_token`.
    tokens: Mutex<Option<(SocketAddr, String, String)>>,
}

impl Stub {
    /// Starts on a free port of loopback.
    pub async fn start() -> io::Result<Arc<Self>> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let queue = Arc::new(Queue::default());
        let stub = Arc::new(Self {
            state: Mutex::new(State {
                world: World::new(queue.clone()),
                keys: Keys::default(),
                ledger: Ledger::default(),
                behaviour: Behaviour::default(),
                unknown: BTreeSet::new(),
                notices: VecDeque::new(),
            }),
            queue,
            address: listener.local_addr()?,
            tokens: Mutex::new(None),
        });
        let accepting = stub.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let stub = accepting.clone();
                tokio::spawn(async move { stub.serve(stream).await });
            }
        });
        Ok(stub)
    }

    /// Starts to push to the application service at `address`.
    pub fn connect(self: &Arc<Self>, address: SocketAddr, tokens: (&str, &str), seed: u64) {
        *self.tokens.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((address, format!("Bearer {}", tokens.0), tokens.1.to_owned()));
        let (queue, hs_token) = (self.queue.clone(), tokens.1.to_owned());
        tokio::spawn(async move { queue.run(address, &hs_token, seed).await });
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until everything was acknowledged and no request has come for a while.
    pub async fn quiet(&self) {
        let begun = Instant::now();
        loop {
            let last = self.state().ledger.last_request.unwrap_or(begun);
            let calm = last.max(begun).elapsed() > QUIET && self.queue.is_idle();
            if calm || begun.elapsed() > 100 * QUIET {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn serve(self: Arc<Self>, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let as_token = self.as_token();
        let mut bytes = Vec::with_capacity(4096);
        let mut out = Vec::with_capacity(512);
        loop {
            let (answer, busy, used) = match wire::parse(&bytes) {
                Parsed::Bad => return Err(io::ErrorKind::InvalidData.into()),
                Parsed::Partial => {
                    if stream.read_buf(&mut bytes).await? == 0 {
                        return Ok(());
                    }
                    continue;
                }
                Parsed::Whole(request, used)
                    if as_token.as_deref() != Some(request.authorization)
                        && !request.path.ends_with("/versions") =>
                {
                    (unauthorized(), None, used)
                }
                Parsed::Whole(request, used) => {
                    let arrived = Instant::now();
                    let (answer, busy) = self.handle(&request);
                    let latency = self.state().behaviour.latency;
                    if !latency.is_zero() {
                        tokio::time::sleep_until((arrived + latency).into()).await;
                    }
                    (answer, busy, used)
                }
            };
            bytes.drain(..used);
            out.clear();
            match answer {
                Answer::Now(status, body) => wire::answer(&mut out, status, &body),
                Answer::Ping(id) => {
                    let (status, body) = self.ping(&id).await;
                    wire::answer(&mut out, status, body);
                }
            }
            drop(busy);
            stream.write_all(&out).await?;
        }
    }

    fn as_token(&self) -> Option<String> {
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.as_ref().map(|(_, as_token, _)| as_token.clone())
    }

    async fn ping(&self, id: &str) -> (u16, &'static str) {
        let tokens = {
            let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
            tokens.clone()
        };
        let Some((address, _, hs_token)) = tokens else {
            return (
                502,
                r#"{"errcode":"M_CONNECTION_FAILED","error":"no application service"}"#,
            );
        };
        let body = format!(r#"{{"transaction_id":"{id}"}}"#);
        let mut client = Client::new(address, &hs_token);
        match client.request("POST", "/_matrix/app/v1/ping", &body).await {
            Ok(200) => (200, r#"{"duration_ms":1}"#),
            Ok(_) => (502, r#"{"errcode":"M_BAD_STATUS","error":"refused"}"#),
            Err(_) => (502, r#"{"errcode":"M_CONNECTION_FAILED","error":"away"}"#),
        }
    }

    fn handle(self: &Arc<Self>, request: &Request<'_>) -> (Answer, Option<Busy>) {
        let mut state = self.state();
        let send = (request.method == "PUT")
            .then(|| request.path.strip_prefix("/_matrix/client/v3/rooms/"))
            .flatten()
            .and_then(|rest| rest.split_once("/send/"));
        let Some((room, _)) = send else {
            return (api::answer(&mut state, request), None);
        };
        let (answer, busy) = send_message(&mut state, request, &decode(room));
        let busy = busy.map(|(lane, mark)| Busy {
            stub: self.clone(),
            lane,
            mark,
        });
        (answer, busy)
    }
}

/// A send that is being answered.
struct Busy {
    stub: Arc<Stub>,
    lane: Lane,
    mark: Mark,
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.stub.state().ledger.end(self.lane, self.mark);
    }
}

fn unauthorized() -> Answer {
    let body = r#"{"errcode":"M_UNKNOWN_TOKEN","error":"Unknown token"}"#;
    Answer::Now(401, body.to_owned())
}

fn send_message(
    state: &mut State,
    request: &Request<'_>,
    room: &str,
) -> (Answer, Option<(Lane, Mark)>) {
    let user = request.parameter("user_id").unwrap_or_default();
    let Some(index) = state.world.rooms.get(room).map(|room| room.index) else {
        state.ledger.request("unknown room");
        let body = r#"{"errcode":"M_FORBIDDEN","error":"not in the room"}"#;
        return (Answer::Now(403, body.to_owned()), None);
    };
    let official = user == BOT || user.starts_with("@_vizard_p_");
    if !official && request.path.contains("/send/m.room.encrypted/") {
        return send_sealed(state, request, room, index, &user);
    }
    let mark = Mark::find(request.body).filter(|_| !official);
    let Some(mark) = mark else {
        state.ledger.request("notice");
        let text = String::from_utf8_lossy(request.body).into_owned();
        state.notices.push_back(text);
        if state.notices.len() > 5 {
            state.notices.pop_front();
        }
        // Said again after a crash, a notice would be a new event here; nobody counts notices.
        let body = format!(r#"{{"event_id":"{}"}}"#, state.world.event_id());
        return (Answer::Now(200, body), None);
    };
    let (speaker, lane) = begin(state, request, index, &user, mark);
    let world = &mut state.world;
    let judged = state.ledger.send(
        request.path,
        index,
        speaker,
        (mark, Instant::now()),
        state.behaviour.check_speakers,
        || world.event_id(),
    );
    if judged.new && state.behaviour.echo_back {
        let content = String::from_utf8_lossy(request.body);
        let json = event::message(room, &user, &judged.event, state.world.now(), &content);
        state.world.queue.add(json);
    }
    let body = format!(r#"{{"event_id":"{}"}}"#, judged.event);
    (Answer::Now(200, body), Some((lane, mark)))
}

/// A send begins: counts it, and gives its speaker and lane.
fn begin(
    state: &mut State,
    request: &Request<'_>,
    room: u32,
    user: &str,
    mark: Mark,
) -> (u64, Lane) {
    state.ledger.request("send");
    if request.parameter("device_id").is_none() {
        state
            .ledger
            .faults
            .add("without device", || format!("{mark:?}"));
    }
    let speaker = hash(user);
    let mirror = user.starts_with("@_vizard_m_") || !state.behaviour.check_speakers;
    let lane = (room, if mirror { 0 } else { speaker });
    state.ledger.begin(lane, mark);
    (speaker, lane)
}

/// A send that nobody here can read: it is put aside, and judged when the run is over.
fn send_sealed(
    state: &mut State,
    request: &Request<'_>,
    room: &str,
    index: u32,
    user: &str,
) -> (Answer, Option<(Lane, Mark)>) {
    let mark = state.ledger.nameless(request.path);
    let (_, lane) = begin(state, request, index, user, mark);
    let event = state.world.event_id();
    let content = String::from_utf8_lossy(request.body).into_owned();
    let (event, new) = state.ledger.put_aside(Sealed {
        path: request.path.into(),
        room: index,
        room_id: room.to_owned(),
        user: user.to_owned(),
        at: Instant::now(),
        event,
        content,
    });
    if new && state.behaviour.echo_back {
        let content = String::from_utf8_lossy(request.body);
        let json = event::encrypted(room, user, &event, state.world.now(), &content);
        state.world.queue.add(json);
    }
    let body = format!(r#"{{"event_id":"{event}"}}"#);
    (Answer::Now(200, body), Some((lane, mark)))
}

/// Judges what was put aside and has been read: `mark` is what it says.
pub fn judge(state: &mut State, sealed: &Sealed, mark: Mark) {
    let check = state.behaviour.check_speakers;
    let event = || sealed.event.clone();
    state.ledger.send(
        &sealed.path,
        sealed.room,
        hash(&sealed.user),
        (mark, sealed.at),
        check,
        event,
    );
}

fn hash(user: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    user.hash(&mut hasher);
    hasher.finish()
}
