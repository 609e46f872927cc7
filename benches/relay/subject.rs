//! The process under test: Vizard or the bare echo, started, stopped, killed and measured from outside.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

/// `utime` and `stime` are counted in these.
const TICKS_PER_SECOND: u32 = 100;
/// How long a start or a graceful stop may take.
const PATIENCE: Duration = Duration::from_mins(2);

/// Which program is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Vizard,
    Echo,
}

/// A program, its directory and, while it runs, its process.
#[derive(Debug)]
pub struct Subject {
    pub kind: Kind,
    pub address: SocketAddr,
    pub as_token: String,
    pub hs_token: String,
    /// Settings, as variables of the environment.
    pub settings: Vec<(&'static str, String)>,
    program: PathBuf,
    arguments: Vec<String>,
    directory: PathBuf,
    child: Option<Child>,
}

/// What the kernel says about a process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    pub cpu: Duration,
    pub resident_kib: u64,
    pub peak_kib: u64,
    /// Bytes that it had the kernel write to disks.
    pub written: u64,
}

impl Subject {
    /// A Vizard with a database of its own in `directory`, as `vizard init` sets it up.
    pub fn vizard(
        program: &Path,
        directory: &Path,
        homeserver: SocketAddr,
    ) -> anyhow::Result<Self> {
        let address = free_address()?;
        let home = directory.join("vizard");
        let output = Command::new(program)
            .arg("init")
            .arg("--dir")
            .arg(&home)
            .args(["--server-name", crate::stub::world::HERE])
            .arg(format!("--homeserver-url=http://{homeserver}"))
            .arg(format!("--listen={address}"))
            .arg(format!("--appservice-url=http://{address}"))
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("starting {}", program.display()))?;
        if !output.status.success() {
            bail!(
                "`vizard init` failed: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        let registration = fs::read_to_string(home.join("registration.yaml"))
            .context("`vizard init` wrote no registration.yaml")?;
        let registration: serde_json::Value = serde_norway::from_str(&registration)?;
        let token = |key: &str| registration[key].as_str().unwrap_or_default().to_owned();
        let config = home.join("vizard.toml").display().to_string();
        Ok(Self {
            kind: Kind::Vizard,
            settings: vec![("VIZARD__ENCRYPTION__ENABLED", "false".to_owned())],
            address,
            as_token: token("as_token"),
            hs_token: token("hs_token"),
            program: program.to_owned(),
            arguments: vec!["run".to_owned(), "--config".to_owned(), config],
            directory: home,
            child: None,
        })
    }

    /// The bare echo: this very program with other arguments.
    pub fn echo(directory: &Path, homeserver: SocketAddr) -> anyhow::Result<Self> {
        let address = free_address()?;
        let directory = directory.join("echo");
        fs::create_dir_all(&directory)?;
        let arguments = vec![
            "--echo".to_owned(),
            address.port().to_string(),
            directory.join("echo.db").display().to_string(),
            format!("http://{homeserver}"),
        ];
        Ok(Self {
            kind: Kind::Echo,
            settings: Vec::new(),
            address,
            as_token: "echo".to_owned(),
            hs_token: "echo".to_owned(),
            program: std::env::current_exe()?,
            arguments,
            directory,
            child: None,
        })
    }

    /// Starts the process and waits until it is ready.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.directory.join("log"))?;
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .envs(LIMITS)
            .envs(self.settings.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.child = Some(child);
        let begun = Instant::now();
        while !self.is_ready().await {
            if let Some(status) = self.running()?.try_wait()? {
                bail!("the process ended with {status}:\n{}", self.log_tail());
            }
            if begun.elapsed() > PATIENCE {
                bail!("the process does not become ready:\n{}", self.log_tail());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Asks the process to stop, and waits.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        if self.kind == Kind::Echo {
            child.kill()?;
            child.wait()?;
            return Ok(());
        }
        Command::new("kill").arg(child.id().to_string()).status()?;
        let begun = Instant::now();
        loop {
            if let Some(status) = child.try_wait()? {
                if !status.success() {
                    bail!("the process ended with {status}:\n{}", self.log_tail());
                }
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                child.kill()?;
                child.wait()?;
                bail!("the process does not stop:\n{}", self.log_tail());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// CPU time and memory so far.
    pub fn usage(&self) -> anyhow::Result<Usage> {
        let pid = self.child.as_ref().context("it is not running")?.id();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let ticks: u32 = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<u32>().ok())
            .sum();
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let kib = |name: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
                .unwrap_or(0)
        };
        Ok(Usage {
            cpu: Duration::from_secs(ticks.into()) / TICKS_PER_SECOND,
            resident_kib: kib("VmRSS:"),
            peak_kib: kib("VmHWM:"),
            written: fs::read_to_string(format!("/proc/{pid}/io"))
                .ok()
                .and_then(|io| {
                    let line = io
                        .lines()
                        .find_map(|line| line.strip_prefix("write_bytes: "));
                    line?.parse().ok()
                })
                .unwrap_or(0),
        })
    }

    /// The end of what the process printed.
    pub fn log_tail(&self) -> String {
        let log = fs::read(self.directory.join("log")).unwrap_or_default();
        let from = log.len().saturating_sub(2000);
        String::from_utf8_lossy(&log[from..]).into_owned()
    }

    /// The size of everything in its directory, in bytes.
    pub fn disk(&self) -> u64 {
        let entries = fs::read_dir(&self.directory).into_iter().flatten();
        entries
            .filter_map(|entry| entry.ok()?.metadata().ok())
            .map(|meta| meta.len())
            .sum()
    }

    fn running(&mut self) -> anyhow::Result<&mut Child> {
        self.child.as_mut().context("it is not running")
    }

    async fn is_ready(&self) -> bool {
        let address = self.address;
        let asked = tokio::task::spawn_blocking(move || -> std::io::Result<bool> {
            let mut stream = TcpStream::connect(address)?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            write!(
                stream,
                "GET /health/ready HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
            )?;
            let mut head = [0; 12];
            stream.read_exact(&mut head)?;
            Ok(&head[9..] == b"200")
        });
        matches!(asked.await, Ok(Ok(true)))
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// One user of the bench does the work of many, so the limits per user must not hold.
const LIMITS: [(&str, &str); 5] = [
    ("VIZARD__ACCESS__MAX_PSEUDONYMS", "1000000"),
    ("VIZARD__ACCESS__JOINS_PER_HOUR", "1000000"),
    ("VIZARD__ACCESS__MESSAGES_PER_MINUTE", "100000000"),
    ("VIZARD__ACCESS__MEDIA_MIB_PER_DAY", "1000000"),
    ("VIZARD__LOG__LEVEL", "warn"),
];

fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}
