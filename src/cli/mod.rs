//! The command line: `vizard --help`.
//!
//! One file per command; `args` says what can be typed, `failure` how it ends when it goes wrong. What a command
//! finds goes to standard output, errors (`error: …`, `help: …`) and progress to standard error. Called by
//! `main` alone. Holds no logic of the service: `vizard run` hands over to [`crate::app`].

mod args;
mod check;
mod doctor;
mod document;
mod escrow;
mod failure;
mod files;
mod init;
mod keys;
mod lock;
mod master_key;
mod registration;
mod report;
mod rotate;
mod run;
mod seal;
mod template;
mod verify;

use std::{io::Write as _, path::Path, process::ExitCode};

use clap::Parser as _;

use self::{
    args::{Args, Command},
    failure::{Exit, Failure},
};
use crate::config::{Config, Environment, Loaded};

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    // Whoever speaks TLS needs a provider; another one, set earlier, serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() {
                Exit::Usage.into()
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match dispatch(args.command) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            let _ = write!(std::io::stderr(), "{failure}");
            failure.exit().into()
        }
    }
}

fn dispatch(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Init(options) => init::init(&options),
        Command::Registration(options) => {
            let loaded = load(&options.config.config)?;
            print(&registration::render(
                &loaded.config,
                options.hints.asked_for,
            )?);
            Ok(Exit::Success)
        }
        Command::Check(options) => {
            let loaded = load(&options.config.config)?;
            let report = runtime(|| check::check(loaded, options.registration, options.json))?;
            Ok(report.exit())
        }
        Command::Doctor(options) => {
            let loaded = load(&options.config.config)?;
            let report = runtime(|| doctor::doctor(loaded, options.json))?;
            Ok(report.exit())
        }
        Command::Run(options) => run::run(load(&options.config)?),
        Command::RotateMasterKey(options) => {
            let loaded = load(&options.config.config)?;
            runtime(|| rotate::rotate(loaded, options.dry_run))?
        }
        Command::Escrow(options) => {
            let loaded = load(&options.config.config)?;
            runtime(|| escrow::escrow(loaded, options.ghost))?
        }
        Command::Keys(options) => runtime(|| keys::run(options))?,
        Command::Seal(options) => seal::run(&options),
        Command::Verify(options) => verify::verify(&options),
        Command::Version => {
            print(concat!("vizard ", env!("CARGO_PKG_VERSION"), "\n"));
            Ok(Exit::Success)
        }
    }
}

fn load(path: &Path) -> Result<Loaded, Failure> {
    Ok(Config::load(path, &environment())?)
}

/// The process's environment variables. Names and values that are not Unicode cannot be meant for Vizard.
fn environment() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Runs what is asynchronous. Leaves at once when it is done, even if a name is still being resolved somewhere.
fn runtime<F: Future>(work: impl FnOnce() -> F) -> Result<F::Output, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::internal(format!("cannot start: {error}")))?;
    let output = runtime.block_on(work());
    runtime.shutdown_background();
    Ok(output)
}

/// Prints to standard output; a closed pipe is no error.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}
