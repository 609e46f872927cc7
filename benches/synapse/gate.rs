//! A gate before the homeserver: passes every request through, counts it, and can hold the sends.
//!
//! While it is closed, `PUT …/rooms/…/send/…` waits here and everything else passes, so that messages can pile up in
//! Vizard without loading the homeserver. Direct senders go the same way. It reads requests and passes answers on
//! without reading more than their status.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

use crate::wire::{self, Parsed, Request};

/// The kind of a request that can be held.
const SEND: &str = "send";

/// The gate. Open at first.
#[derive(Clone, Debug)]
pub struct Gate {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    homeserver: SocketAddr,
    open: watch::Sender<bool>,
    book: Mutex<Book>,
}

/// What went through since the gate was last closed.
#[derive(Clone, Debug, Default)]
pub struct Book {
    /// Requests by kind.
    pub requests: BTreeMap<&'static str, u64>,
    /// How long the homeserver took for each send.
    pub latencies: Vec<Duration>,
    /// Sends that were answered with anything but 200.
    pub refused: u64,
    /// Sends that are held.
    pub held: usize,
    /// When the last send was answered.
    pub last_answer: Option<Instant>,
    /// When anything last went through.
    pub last_request: Option<Instant>,
}

impl Gate {
    /// Starts it before a homeserver, which need not run yet.
    pub async fn start(homeserver: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((homeserver.ip(), 0)).await?;
        let gate = Self {
            address: listener.local_addr()?,
            shared: Arc::new(Shared {
                homeserver,
                open: watch::Sender::new(true),
                book: Mutex::default(),
            }),
        };
        let shared = Arc::clone(&gate.shared);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move { shared.serve(client).await });
            }
        });
        Ok(gate)
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Holds sends from now on, and begins a new book.
    pub fn close(&self) {
        *self.book() = Book::default();
        self.shared.open.send_replace(false);
    }

    /// Lets everything through; requests are counted anew. Returns when that was.
    pub fn open(&self) -> Instant {
        *self.book() = Book::default();
        let now = Instant::now();
        self.shared.open.send_replace(true);
        now
    }

    /// The book, to be looked at for a moment.
    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.shared.book()
    }
}

impl Shared {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(&self, client: TcpStream) {
        let Ok(server) = TcpStream::connect(self.homeserver).await else {
            return;
        };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        // The clients here send no request on a connection before the last one is answered.
        let asked = Mutex::new(None);
        // Whichever end closes ends both.
        tokio::select! {
            _ = self.requests(from_client, to_server, &asked) => {}
            _ = self.answers(from_server, to_client, &asked) => {}
        }
    }

    async fn requests(
        &self,
        mut client: OwnedReadHalf,
        mut server: OwnedWriteHalf,
        asked: &Mutex<Option<Instant>>,
    ) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(4096);
        loop {
            let (kind, length) = match wire::parse(&bytes) {
                Parsed::Whole(request, length) => (kind(&request), length),
                Parsed::Bad => return Err(io::ErrorKind::InvalidData.into()),
                Parsed::Partial => {
                    if client.read_buf(&mut bytes).await? == 0 {
                        return Ok(());
                    }
                    continue;
                }
            };
            if kind == SEND {
                self.wait().await;
            }
            {
                let mut book = self.book();
                *book.requests.entry(kind).or_default() += 1;
                book.last_request = Some(Instant::now());
            }
            *asked.lock().unwrap_or_else(PoisonError::into_inner) =
                (kind == SEND).then(Instant::now);
            server.write_all(&bytes[..length]).await?;
            bytes.drain(..length);
        }
    }

    /// Waits while the gate is closed.
    async fn wait(&self) {
        let mut open = self.open.subscribe();
        if *open.borrow_and_update() {
            return;
        }
        self.book().held += 1;
        let _ = open.wait_for(|open| *open).await;
    }

    async fn answers(
        &self,
        mut server: OwnedReadHalf,
        mut client: OwnedWriteHalf,
        asked: &Mutex<Option<Instant>>,
    ) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(4096);
        loop {
            bytes.clear();
            if server.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
            let begun = asked.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(begun) = begun {
                let mut book = self.book();
                book.latencies.push(begun.elapsed());
                book.last_answer = Some(Instant::now());
                book.refused += u64::from(!bytes.starts_with(b"HTTP/1.1 200"));
            }
            client.write_all(&bytes).await?;
        }
    }
}

fn kind(request: &Request<'_>) -> &'static str {
    let path = request.path;
    let parts = [
        ("/send/", SEND),
        ("/receipt/", "receipt"),
        ("/redact/", "redact"),
        ("/state", "state"),
        ("/keys/", "keys"),
        ("/sync", "sync"),
        ("/messages", "messages"),
        ("/sendToDevice/", "to-device"),
    ];
    let found = parts.into_iter().find(|(part, _)| path.contains(part));
    found.map_or("other", |(_, kind)| kind)
}
