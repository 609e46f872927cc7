//! A web server with TLS, as another server's administrator has one. It answers whatever a test wants.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use ruma::OwnedServerName;
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use crate::testkit::{python::Python, scratch::Scratch, tls};

/// Where most sites are, and what their certificates are for.
pub const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
/// Another address; no certificate is for it.
pub const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 2));

/// Which certificate is shown.
#[derive(Clone, Copy, Debug)]
pub enum Shows {
    /// A sound one, for [`HERE`].
    Good,
    /// One that has expired.
    Expired,
    /// One of an authority that nobody trusts.
    Foreign,
}

/// What is answered.
#[derive(Clone, Debug)]
pub enum Answer {
    /// 200 and this.
    Body(Vec<u8>),
    /// A status without more.
    Status(u16),
    /// A redirect.
    To(String),
    /// So many redirects to itself, then the body.
    Round(u32, Vec<u8>),
    /// 200, and a body that never ends.
    Endless,
    /// 200, and a byte now and then.
    Slow,
    /// Nothing.
    Silent,
    /// Less than it promised.
    Short,
    /// What is behind it, over plain HTTP, says.
    Behind(SocketAddr),
}

/// The server. Dropping it ends it.
pub struct Site {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    answer: Mutex<Answer>,
    paths: Mutex<Vec<String>>,
    connections: AtomicU32,
    ended: AtomicBool,
}

struct Certificates {
    scratch: Scratch,
    authority: PathBuf,
}

fn certificates() -> &'static Certificates {
    static ONCE: OnceLock<Certificates> = OnceLock::new();
    ONCE.get_or_init(|| {
        let python = Python::shared().unwrap();
        let scratch = Scratch::new("certificates").unwrap();
        let place = |name: &str| {
            let place = scratch.path().join(name);
            std::fs::create_dir(&place).unwrap();
            place
        };
        tls::certificate(&python, HERE, &place("good")).unwrap();
        tls::expired_certificate(&python, HERE, &place("expired")).unwrap();
        tls::foreign_certificate(&python, HERE, &place("foreign")).unwrap();
        let authority = tls::authority(&python).unwrap();
        Certificates { scratch, authority }
    })
}

/// The certificate authority to trust, as a PEM file.
pub fn authority() -> &'static Path {
    &certificates().authority
}

impl Site {
    /// Listens at [`HERE`].
    pub fn new(answer: Answer) -> Self {
        Self::at(HERE, Shows::Good, answer)
    }

    pub fn at(address: IpAddr, shows: Shows, answer: Answer) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let place = certificates().scratch.path().join(match shows {
            Shows::Good => "good",
            Shows::Expired => "expired",
            Shows::Foreign => "foreign",
        });
        let chain = CertificateDer::from_pem_file(place.join("tls.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(place.join("tls.key")).unwrap();
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![chain], key)
            .unwrap();
        let listener = TcpListener::bind((address, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            answer: Mutex::new(answer),
            paths: Mutex::default(),
            connections: AtomicU32::new(0),
            ended: AtomicBool::new(false),
        });
        let (config, all) = (Arc::new(config), shared.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if all.ended.load(Ordering::Relaxed) {
                    return;
                }
                all.connections.fetch_add(1, Ordering::Relaxed);
                let (config, all) = (config.clone(), all.clone());
                // What breaks here is what the other side is tested with.
                thread::spawn(move || {
                    let connection = ServerConnection::new(config).unwrap();
                    let _ = all.serve(&mut StreamOwned::new(connection, stream));
                });
            }
        });
        Self { address, shared }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The name of the homeserver whose site this is.
    pub fn server(&self) -> OwnedServerName {
        self.address.to_string().try_into().unwrap()
    }

    /// Answers this from now on.
    pub fn set(&self, answer: Answer) {
        *lock(&self.shared.answer) = answer;
    }

    /// The paths that were asked for.
    pub fn paths(&self) -> Vec<String> {
        lock(&self.shared.paths).clone()
    }

    pub fn connections(&self) -> u32 {
        self.shared.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn head(to: &mut impl Write, status: u16, rest: &str) -> std::io::Result<()> {
    write!(to, "HTTP/1.1 {status} x\r\nConnection: close\r\n{rest}\r\n")
}

fn body(to: &mut impl Write, body: &[u8]) -> std::io::Result<()> {
    head(to, 200, &format!("Content-Length: {}\r\n", body.len()))?;
    to.write_all(body)
}

impl Shared {
    fn serve(&self, stream: &mut StreamOwned<ServerConnection, TcpStream>) -> std::io::Result<()> {
        let mut request = String::new();
        let mut reader = BufReader::new(&mut *stream);
        while !request.ends_with("\r\n\r\n") {
            if reader.read_line(&mut request)? == 0 {
                return Ok(());
            }
        }
        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
        lock(&self.paths).push(path.clone());
        let answer = lock(&self.answer).clone();
        match answer {
            Answer::Body(bytes) => body(stream, &bytes)?,
            Answer::Status(status) => head(stream, status, "Content-Length: 0\r\n")?,
            Answer::To(url) => head(
                stream,
                302,
                &format!("Location: {url}\r\nContent-Length: 0\r\n"),
            )?,
            Answer::Round(left, bytes) => {
                let round: u32 = path
                    .rsplit('/')
                    .next()
                    .and_then(|n| n.parse().ok())
                    .unwrap_or(0);
                if round < left {
                    let next = round + 1;
                    head(
                        stream,
                        302,
                        &format!("Location: /round/{next}\r\nContent-Length: 0\r\n"),
                    )?;
                } else {
                    body(stream, &bytes)?;
                }
            }
            Answer::Endless => {
                head(stream, 200, "")?;
                loop {
                    stream.write_all(&[b' '; 4096])?;
                }
            }
            Answer::Slow => {
                head(stream, 200, "Content-Length: 1000\r\n")?;
                loop {
                    stream.write_all(b" ")?;
                    stream.flush()?;
                    thread::sleep(Duration::from_millis(500));
                }
            }
            Answer::Silent => thread::sleep(Duration::from_mins(1)),
            Answer::Short => {
                head(stream, 200, "Content-Length: 1000\r\n")?;
                stream.write_all(b"{")?;
            }
            Answer::Behind(address) => {
                let mut behind = TcpStream::connect(address)?;
                write!(
                    behind,
                    "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
                )?;
                let mut answer = Vec::new();
                behind.read_to_end(&mut answer)?;
                stream.write_all(&answer)?;
            }
        }
        stream.conn.send_close_notify();
        stream.flush()
    }
}
