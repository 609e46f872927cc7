//! Child processes that never outlive the process that started them.
//!
//! Each child leads a process group of its own, so a Ctrl-C in the terminal reaches the test alone and a
//! kill takes the child's children along. A *reaper* (one small shell per test process) reads the groups
//! from a pipe; when the test process is gone, however it ended, the pipe closes and the reaper kills
//! what is left. A parent-death signal would not do: it fires when the *thread* that started the child
//! ends, and tests are threads.

use std::{
    fs::File,
    io::{self, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Output, Stdio},
    sync::{Mutex, OnceLock, PoisonError, mpsc},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// A running child process. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with its output appended to the file `log`.
    pub fn spawn(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let out = append(log)?;
        command.stdin(Stdio::null()).stdout(out.try_clone()?);
        Self::begin(name, command, out, log)
    }

    /// Starts `command` to be spoken with; only its stderr is appended to the file `log`.
    pub fn converse(
        name: &str,
        mut command: Command,
        log: &Path,
    ) -> Result<(Self, ChildStdin, ChildStdout)> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Self::begin(name, command, append(log)?, log)?;
        let input = process.child.stdin.take().context("no stdin")?;
        let output = process.child.stdout.take().context("no stdout")?;
        Ok((process, input, output))
    }

    fn begin(name: &str, mut command: Command, errors: File, log: &Path) -> Result<Self> {
        let child = command
            .process_group(0)
            .stderr(errors)
            .spawn()
            .with_context(|| {
                format!("cannot start {name} ({})", command.get_program().display())
            })?;
        tell_reaper('+', child.id());
        Ok(Self {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
        })
    }

    /// The process id, which is its group's id too.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// An error that shows the end of the log, if the process has ended.
    pub fn check_alive(&mut self) -> Result<()> {
        match self.exited() {
            None => Ok(()),
            Some(status) => bail!("{} ended ({status}):\n{}", self.name, tail(&self.log, 40)),
        }
    }

    /// Asks it to end (SIGTERM) and waits; after `limit` it is killed and that is an error.
    pub async fn stop(&mut self, limit: Duration) -> Result<ExitStatus> {
        if let Some(status) = self.exited() {
            return Ok(status);
        }
        signal_group("TERM", self.id());
        let since = Instant::now();
        loop {
            if let Some(status) = self.exited() {
                return Ok(status);
            }
            if since.elapsed() > limit {
                self.kill();
                bail!(
                    "{} did not end within {limit:?} of SIGTERM and was killed:\n{}",
                    self.name,
                    tail(&self.log, 40)
                );
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Kills it at once (SIGKILL), with its whole group, and waits until it is gone.
    pub fn kill(&mut self) {
        if self.exited().is_none() {
            // The leader first and without a detour, so that the instant of a kill is the caller's.
            let _ = self.child.kill();
            signal_group("KILL", self.id());
            let _ = self.child.wait();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        tell_reaper('-', self.id());
    }
}

fn append(log: &Path) -> Result<File> {
    File::options()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("cannot open {}", log.display()))
}

/// The last lines of a file, for an error message.
pub fn tail(path: &Path, lines: usize) -> String {
    let bytes = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Whether a process of this id runs. One that ended and was not collected by its parent yet does not.
pub fn runs(id: u32) -> bool {
    let state = if Path::new("/proc/self/stat").exists() {
        // The state follows the name, which stands in parentheses and may hold anything.
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        stat.rsplit_once(')')
            .map_or(String::new(), |(_, rest)| rest.trim().to_owned())
    } else {
        let output = Command::new("ps")
            .args(["-o", "stat=", "-p", &id.to_string()])
            .output();
        output.map_or(String::new(), |output| {
            String::from_utf8_lossy(&output.stdout).into_owned()
        })
    };
    !state.is_empty() && !state.starts_with(['Z', 'X'])
}

/// Sends a signal to a process group. The shell's own `kill` is everywhere; a program of that name is not.
fn signal_group(signal: &str, group: u32) {
    let _ = Command::new("sh")
        .args(["-c", r#"kill -s "$1" -- "-$2" 2>/dev/null"#, "sh", signal])
        .arg(group.to_string())
        .status();
}

/// Reads `+ GROUP` and `- GROUP`; at the end of its input it kills the groups that are left.
const REAPER: &str = r#"
trap '' INT TERM HUP
left=' '
while read -r what group; do
    case $what in
        +) left="$left$group " ;;
        -) case $left in *" $group "*) left="${left%%" $group "*} ${left#*" $group "}" ;; esac ;;
    esac
done
for group in $left; do kill -s KILL -- "-$group" 2>/dev/null; done
"#;

fn tell_reaper(what: char, group: u32) {
    static REAPER_INPUT: OnceLock<Option<Mutex<ChildStdin>>> = OnceLock::new();
    let input = REAPER_INPUT.get_or_init(|| {
        Command::new("sh")
            .args(["-c", REAPER])
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()
            .and_then(|mut child| child.stdin.take())
            .map(Mutex::new)
    });
    if let Some(input) = input {
        let mut input = input.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = writeln!(input, "{what} {group}");
    }
}

/// How long a command may take that only does something and ends.
const COMMAND: Duration = Duration::from_mins(5);

/// Runs a command to its end, as [`Command::output`] does; one that does not end is killed after five minutes.
pub fn output(command: &mut Command) -> io::Result<Output> {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    output_of(child)
}

/// The same for what runs already.
pub fn output_of(child: Child) -> io::Result<Output> {
    let id = child.id().to_string();
    let (ended, wait) = mpsc::channel::<()>();
    let watch = std::thread::spawn(move || {
        if wait.recv_timeout(COMMAND) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("process {id} is killed, for it does not end");
            let _ = Command::new("kill").args(["-KILL", &id]).status();
        }
    });
    let output = child.wait_with_output();
    drop(ended);
    let _ = watch.join();
    output
}
