//! Engines that judge files and processes, for `analyze` and `scan`.
//!
//! Each engine looks at content and tells findings. A finding has a weight; the
//! verdict is made of the weights alone, by one rule:
//!
//! - Every pair of engine and rule counts once, with its greatest weight, wherever in the subject it was found.
//! - 100 and more together are `malicious`, 40 and more `suspicious`.
//! - Less is `clean` when every engine that there is has looked at all of it, else `unknown`: something could not be read, was cut,
//!   or an engine failed. Clean says that nothing was found by these engines, no more.
//!
//! | engine | rule | weight |
//! |---|---|---|
//! | `hashes` | the content's hash is in a list of the library (`*.sha256`, `*.sha1`, `*.md5`, `*.hashes`) | 100 |
//! | `builtin` | a YARA rule of our own (`builtin.yar`); a line of text in documentation that is as its package shipped it | its `weight`; 20 |
//! | `yara` | a YARA rule of the library (`*.yar`, `*.yara`) | its meta `weight` or `score`, 0 to 100; 60 without |
//! | `clamav` | ClamAV knows it; possibly unwanted (`PUA.`) or only a guess (`Heuristics.`) | 100; 50 |
//! | `packages` | a package owns it and shipped other content; of what is read and not run; of configuration | 60; 20; 0 |
//! | `packages` | `as_shipped`: it is what its package shipped; lets `entropy`, `temporary`, `hidden` not count | 0 |
//! | `static` | `ld_so_preload`: `/etc/ld.so.preload` names a library that no package owns | 60 |
//! | `static` | `setuid`: a program that runs as root for everybody and is not known to | 50, in a folder that all may write 70 |
//! | `static` | `device_folder`: a program in `/dev` | 60 |
//! | `static` | `temporary`: a program in a folder that all may write; started by itself from there | 20; 60 |
//! | `static` | `hidden`: a program behind a dot in a folder of the system or one that all may write | 20 |
//! | `static` | `entropy`: machine code that is packed or encrypted | 30 |
//! | `process` | `memfd`: its image never was on a disk | 60 |
//! | `process` | `deleted`: its image is gone; replaced by another one there | 40; 10 |
//! | `process` | `temporary`: its image lies in a folder that all may write | 40 |
//! | `process` | `mapped`: it executes memory of a file that is gone or never was on a disk; of one that was replaced | 40; 10 |
//! | `process` | `preload`: `LD_PRELOAD` or `LD_AUDIT` names a library that no package owns (one that a package owns: 0) | 60 |
//! | `process` | `disguise`: it calls itself a thread of the kernel and runs a file | 60 |
//!
//! A process is judged by its image, by the files that it executes and no package owns, by what it has open that lies nowhere else
//! and by the scripts that it runs; `process` tells what it shows of itself. That its image lies in a folder that all may write counts
//! once, as `process`.
//!
//! A program that a package owns and has no checksum of is not looked at by `packages`, which is an error of that engine.
//!
//! What a packaged program does not answer for — content and setuid — counts however it is owned. What lies in an archive counts
//! for the archive; `packages`, `static` and `clamav` (which unpacks by itself) look at the file alone.
//!
//! Offsets, `filesize`, the entry point and modules of YARA mean the whole content, however large it is. Of a file that is larger
//! than [`WINDOW`] the rules see pieces that overlap, each where it stands; holes are passed over. Of a member of an archive they
//! see the first [`WINDOW`] bytes. Of a file that is larger than the [`Bounds`] only so much of what holds data is looked at, and it
//! has no hash. Whatever was not looked at is said, and what would be `clean` is `unknown` then.

pub mod archive;
pub mod budget;
mod clamav;
mod crew;
mod fetch;
mod hashes;
mod heuristics;
mod judge;
mod judgement;
mod members;
mod packages;
mod process;
mod reading;
mod rules;
mod yara;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::context::Stop;
use super::platform::{Facts, Origin};

pub use crew::{Crew, Judged, Target};
pub use judge::Judge;
pub use judgement::{Bounds, Judgement};
pub use process::KnownParts;
pub use rules::{Rules, complaints};

/// From this weight on it is malicious.
pub const MALICIOUS: u32 = 100;
/// From this weight on it is suspicious.
pub const SUSPICIOUS: u32 = 40;
/// How much of content is kept in memory, and seen at once.
pub const WINDOW: usize = 32 * 1024 * 1024;
/// How much of content tells what it is.
const HEAD: usize = 64 * 1024;

/// What is made of all findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// All was looked at, and little or nothing found.
    Clean,
    /// Little or nothing was found, and not all of it was looked at.
    Unknown,
    /// Somebody should look.
    Suspicious,
    /// It is.
    Malicious,
}

/// Something that an engine found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The engine.
    pub engine: &'static str,
    /// What it goes by: the rule, the signature, the entry of the list.
    pub rule: String,
    /// What it weighs.
    pub weight: u32,
    /// What was found, in words.
    pub what: String,
    /// The member of an archive that it was found in, or the file that a process has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

/// Why an engine has no answer.
#[derive(Debug)]
pub enum Trouble {
    /// The command was asked to stop.
    Stopped,
    /// It failed at this one.
    Here(String),
    /// It will fail at all that come.
    Gone(String),
}

/// What an engine says of what it was shown.
pub type Answer = Result<Vec<Finding>, Trouble>;

/// How often it is looked whether the command was asked to stop, while another thread or program works.
const PACE: Duration = Duration::from_millis(50);

/// Waits for what another thread answers, which comes at once; `None` when the deadline passes or nobody will answer.
fn answer_within<T>(receiver: &Receiver<T>, patience: Duration, stop: &Stop) -> Result<Option<T>, Trouble> {
    let end = Instant::now() + patience;
    loop {
        match receiver.recv_timeout(PACE) {
            Ok(answer) => return Ok(Some(answer)),
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
            Err(RecvTimeoutError::Timeout) if stop.asked() => return Err(Trouble::Stopped),
            Err(RecvTimeoutError::Timeout) if Instant::now() >= end => return Ok(None),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Something with content.
pub struct Subject<'a> {
    /// The file of the device, unless it is a member of an archive.
    pub file: Option<OnDevice<'a>>,
    /// Where in an archive it is.
    pub place: Option<String>,
}

/// A file of the device, open.
#[derive(Clone, Copy)]
pub struct OnDevice<'a> {
    /// Its path, links resolved where it has one.
    pub path: &'a Path,
    /// Its facts.
    pub facts: &'a Facts,
    /// Its content.
    pub file: &'a File,
    /// Whether that path leads to it: not so for what is deleted or never had a name.
    pub named: bool,
    /// Where it comes from, where that is known already.
    pub origin: Option<&'a Origin>,
    /// Whether it is known to start by itself.
    pub autostart: bool,
}

/// Which hashes an engine needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wants {
    /// SHA-256.
    pub sha256: bool,
    /// SHA-1.
    pub sha1: bool,
    /// MD5.
    pub md5: bool,
}

impl Wants {
    /// What either needs.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { sha256: self.sha256 || other.sha256, sha1: self.sha1 || other.sha1, md5: self.md5 || other.md5 }
    }
}

/// Content that was read, and what is known of it.
#[derive(Debug, Default)]
pub struct Whole<'a> {
    /// How many bytes there are.
    pub size: u64,
    /// In lower-case hexadecimal, where it was asked for and all of it was read.
    pub sha256: Option<String>,
    /// The same.
    pub sha1: Option<String>,
    /// The same.
    pub md5: Option<String>,
    /// Shannon entropy, of programs.
    pub entropy: Option<f64>,
    /// Its first bytes: all of them, or about as many as a [`WINDOW`] has.
    pub start: Arc<Vec<u8>>,
    /// Where those behind them can be read.
    pub rest: Option<Rest<'a>>,
    /// What an engine did not look at, and why.
    pub passed_over: RefCell<Vec<String>>,
}

/// Where content can be read that is not all in memory.
#[derive(Debug, Clone, Copy)]
pub struct Rest<'a> {
    /// The file.
    pub file: &'a File,
    /// How much of what holds data is read.
    pub bound: u64,
}

impl Whole<'_> {
    /// Its first bytes, as far as they tell what it is.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        self.start.get(..HEAD.min(self.start.len())).unwrap_or_default()
    }

    /// Says, once, what was not looked at.
    pub fn pass_over(&self, what: String) {
        let mut said = self.passed_over.borrow_mut();
        if !said.contains(&what) {
            said.push(what);
        }
    }
}

/// One way to judge content.
pub trait Engine: Send {
    /// Its name in findings.
    fn name(&self) -> &'static str;

    /// Which hashes it needs of this one.
    fn wants(&mut self, _subject: &Subject<'_>) -> Wants {
        Wants::default()
    }

    /// Looks at content. `found` is what the engines before it found.
    ///
    /// # Errors
    /// When it has no answer.
    fn look(&mut self, subject: &Subject<'_>, whole: &Whole<'_>, found: &[Finding]) -> Answer;
}

/// What findings weigh together.
#[must_use]
pub fn score(findings: &[Finding]) -> u32 {
    let mut weights: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for finding in findings {
        let weight = weights.entry((finding.engine, &finding.rule)).or_default();
        *weight = finding.weight.max(*weight);
    }
    weights.values().fold(0, |sum, weight| sum.saturating_add(*weight))
}

/// The verdict on what weighs so much, looked at whole or not.
#[must_use]
pub fn verdict(score: u32, whole: bool) -> Verdict {
    match score {
        MALICIOUS.. => Verdict::Malicious,
        SUSPICIOUS.. => Verdict::Suspicious,
        _ if whole => Verdict::Clean,
        _ => Verdict::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_make_the_verdict() {
        let finding =
            |engine, rule: &str, weight| Finding { engine, rule: rule.to_owned(), weight, what: String::new(), place: None };
        let check = |findings: &[Finding], whole, wanted| {
            assert_eq!(verdict(score(findings), whole), wanted, "{findings:?}");
        };
        check(&[], true, Verdict::Clean);
        check(&[], false, Verdict::Unknown);
        check(&[finding("static", "a", 39)], true, Verdict::Clean);
        check(&[finding("static", "a", 20), finding("static", "b", 20)], true, Verdict::Suspicious);
        check(&[finding("yara", "a", 60), finding("yara", "a", 60)], false, Verdict::Suspicious);
        check(&[finding("yara", "a", 60), finding("builtin", "a", 60)], true, Verdict::Malicious);
        check(&[finding("yara", "a", u32::MAX), finding("yara", "b", u32::MAX)], true, Verdict::Malicious);
    }
}
