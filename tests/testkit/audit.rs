//! The leak audit: given all that is on a homeserver's disk and what must not be there, it reports every
//! place where it is there after all.
//!
//! It reads each cell of each table, the raw database files (freed pages and the write-ahead log hold
//! what no table shows), the media store, and the logs; and it looks for each [`Needle`] plain and in
//! the encodings in which software writes text. It knows nothing of Vizard or Synapse. Who passes the
//! wrong needles gets a clean report: [`Report::searched`] says what was looked at, and the audit's own
//! tests plant leaks.

mod database;
mod linkage;
mod needle;
mod search;

use std::{
    fmt,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

pub use linkage::{Link, linkage};
pub use needle::Needle;

/// What is on a server's disk.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// SQLite files; the server may be running.
    pub databases: Vec<PathBuf>,
    /// Directories, searched whole and raw.
    pub directories: Vec<PathBuf>,
    /// Text files, reported by line.
    pub logs: Vec<PathBuf>,
}

/// One place that holds a needle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// `table.column (row N)`, `file:line`, `file (byte N)`.
    pub place: String,
    /// What kind of thing leaked, as the needle's maker called it.
    pub kind: String,
    /// The thing itself.
    pub needle: String,
    /// How it was written: `plain`, `base64`, …
    pub form: &'static str,
    /// What stands around it.
    pub context: String,
}

/// What an audit saw.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub findings: Vec<Finding>,
    pub searched: Searched,
}

/// How much was looked at, so that an empty report can be told from an empty search.
#[derive(Clone, Copy, Debug, Default)]
pub struct Searched {
    pub needles: usize,
    pub tables: usize,
    pub cells: u64,
    pub files: usize,
    pub bytes: u64,
}

/// Searches the evidence for the needles.
pub async fn audit(evidence: &Evidence, needles: &[Needle]) -> Result<Report> {
    let search = search::Search::new(needles)?;
    let mut report = Report::default();
    report.searched.needles = needles.len();
    for path in &evidence.databases {
        if !path.exists() {
            bail!("there is no database {}", path.display());
        }
        database::cells(path, |cell| {
            report.searched.cells += 1;
            report.searched.bytes += cell.bytes.len() as u64;
            let place = || format!("{}.{} (row {})", cell.table, cell.column, cell.row);
            search.find(cell.bytes, |_| place(), &mut report.findings);
        })
        .await
        .map(|tables| report.searched.tables += tables)?;
        for suffix in ["", "-wal", "-journal"] {
            let mut name = path.clone().into_os_string();
            name.push(suffix);
            if Path::new(&name).exists() {
                file(&search, Path::new(&name), false, &mut report)?;
            }
        }
    }
    for directory in &evidence.directories {
        walk(&search, directory, &mut report)?;
    }
    for log in &evidence.logs {
        file(&search, log, true, &mut report)?;
    }
    Ok(report)
}

fn walk(search: &search::Search, directory: &Path, report: &mut Report) -> Result<()> {
    if !directory.exists() {
        // A media store is made with its first file.
        return Ok(());
    }
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(search, &path, report)?;
        } else {
            file(search, &path, false, report)?;
        }
        // A name can leak as well as what is inside.
        let name = path.to_string_lossy().into_owned();
        let place = |_| format!("the name of {name}");
        if let Some(last) = path.file_name() {
            search.find(
                last.to_string_lossy().as_bytes(),
                place,
                &mut report.findings,
            );
        }
    }
    Ok(())
}

fn file(search: &search::Search, path: &Path, lines: bool, report: &mut Report) -> Result<()> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    report.searched.files += 1;
    report.searched.bytes += bytes.len() as u64;
    let ends: Vec<usize> = (0..bytes.len())
        .filter(|at| lines && bytes[*at] == b'\n')
        .collect();
    let place = |at: usize| {
        if lines {
            format!(
                "{}:{}",
                path.display(),
                ends.partition_point(|end| *end < at) + 1
            )
        } else {
            format!("{} (byte {at})", path.display())
        }
    };
    search.find(&bytes, place, &mut report.findings);
    Ok(())
}

impl Report {
    /// Whether nothing was found, in a search that did look at something.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty() && self.searched.cells > 0 && self.searched.needles > 0
    }

    /// Panics with the whole report unless it is clean.
    #[track_caller]
    pub fn assert_clean(&self) {
        assert!(self.is_clean(), "the leak audit failed\n{self}");
    }
}

/// How many findings a printed report lists.
const SHOWN: usize = 40;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Searched {
            needles,
            tables,
            cells,
            files,
            bytes,
        } = self.searched;
        writeln!(
            f,
            "{} found; searched for {needles} things in {cells} cells of {tables} tables and {files} files ({} MiB)",
            self.findings.len(),
            bytes >> 20
        )?;
        for Finding {
            place,
            kind,
            needle,
            form,
            context,
        } in self.findings.iter().take(SHOWN)
        {
            writeln!(f, "  {kind} {needle:?} ({form}) in {place}: {context}")?;
        }
        if self.findings.len() > SHOWN {
            writeln!(f, "  … and {} more", self.findings.len() - SHOWN)?;
        }
        Ok(())
    }
}
