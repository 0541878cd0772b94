//! What the engines look with: the rule files that came with a command, checked and read, and our own rules.

use std::collections::VecDeque;
use std::sync::Arc;

use boreal::Scanner;
use sha2::{Digest, Sha256};

use super::Trouble;
use super::clamav::ClamAv;
use super::hashes::HashLists;
use super::yara::{self, Library};
use crate::agent::context::{Context, Stop, VerbError};
use crate::agent::digest::hex;
use crate::protocol::Problem;
use crate::protocol::link::{DeliveredFile, MAX_RULES, RuleKind};

/// So many lines that are no hashes are told by their numbers.
const MAX_LINES: usize = 5;

/// What all judges of a command share.
pub struct Rules {
    /// Lists of hashes.
    pub hashes: Arc<HashLists>,
    /// The library's YARA rules.
    pub yara: Option<Arc<Library>>,
    /// Our own.
    pub builtin: Scanner,
    /// What of ClamAV the device has.
    pub clamav: Arc<ClamAv>,
    /// Engines that cannot look at all: name and why.
    pub failed: Vec<(&'static str, String)>,
}

impl Rules {
    /// Takes in what came with the command. What is wrong with a file is the command's problem, and the others are used.
    ///
    /// # Errors
    /// When what came is not what was announced, or the command was asked to stop.
    pub fn of(ctx: &mut Context) -> Result<Self, VerbError> {
        let (mut lists, mut yara_files, mut clamav) = (HashLists::default(), Vec::new(), Vec::new());
        for (file, bytes) in receive(ctx)? {
            match RuleKind::of(&file.name) {
                Some(RuleKind::Hashes) => {
                    if let Some(why) = odd_lines(&file.name, &lists.add(&file.name, &bytes)) {
                        ctx.problem(Problem::new("bad_rules", why).about(file.name));
                    }
                }
                Some(RuleKind::Yara) => yara_files.push((file.name, bytes)),
                Some(RuleKind::ClamAv) => clamav.push((file.name, bytes)),
                None => {}
            }
        }
        let mut failed = Vec::new();
        let mut library = None;
        if !yara_files.is_empty() {
            match yara::compile(yara_files, &ctx.stop) {
                Ok((compiled, complaints)) => {
                    if compiled.is_none() {
                        failed.push(("yara", format!("no rule file of the library is understood: {}", complaints.join("; "))));
                    }
                    library = compiled.map(Arc::new);
                    for why in complaints {
                        ctx.problem(Problem::new("bad_rules", why));
                    }
                }
                Err(Trouble::Stopped) => return Err(VerbError::stopped()),
                Err(Trouble::Here(why) | Trouble::Gone(why)) => failed.push(("yara", why)),
            }
        }
        let builtin = yara::builtin().map_err(|why| VerbError::failed("internal", why))?;
        let folder = ctx.agent.folder.join(format!("clamav-{}", ctx.command.command_id));
        let clamav = ClamAv::find(&clamav, folder).unwrap_or_else(|error| {
            failed.push(("clamav", format!("its signatures cannot be put into the agent's folder: {error}")));
            ClamAv::default()
        });
        Ok(Self { hashes: Arc::new(lists), yara: library, builtin, clamav: Arc::new(clamav), failed })
    }
}

impl Rules {
    /// Says which files of rules were given up while they looked.
    pub fn tell_given_up(&self, ctx: &mut Context) {
        for (file, why) in self.yara.iter().flat_map(|library| library.given_up()) {
            ctx.problem(Problem::new("bad_rules", why).about(file));
        }
    }
}

/// The files that came, each checked by its SHA-256.
fn receive(ctx: &mut Context) -> Result<Vec<(DeliveredFile, Vec<u8>)>, VerbError> {
    let files = std::mem::take(&mut ctx.command.rule_files);
    if files.is_empty() {
        return Ok(Vec::new());
    }
    if files.iter().map(|file| file.size).fold(0, u64::saturating_add) > MAX_RULES {
        let message = format!("the rule files that came have more than the {MAX_RULES} bytes that this device takes");
        return Err(Problem::new("limit", message).into());
    }
    let Some(mut delivery) = ctx.delivery.take() else {
        return Err(VerbError::failed("internal", "the service sent no rule files"));
    };
    let mut come: VecDeque<u8> = VecDeque::new();
    let mut all = Vec::with_capacity(files.len());
    for file in files {
        let size = usize::try_from(file.size).unwrap_or(usize::MAX);
        while come.len() < size {
            ctx.stop.check()?;
            match delivery.blocking_recv() {
                Some(piece) => come.extend(piece?),
                None => return Err(differs(&file)),
            }
        }
        let bytes: Vec<u8> = come.drain(..size).collect();
        if hex(&Sha256::digest(&bytes)) != file.sha256 {
            return Err(differs(&file));
        }
        all.push((file, bytes));
    }
    Ok(all)
}

/// What is wrong with a file of rules, before anything is looked at with it.
#[must_use]
pub fn complaints(name: &str, content: &[u8]) -> Vec<String> {
    match RuleKind::of(name) {
        Some(RuleKind::Hashes) => odd_lines(name, &HashLists::default().add(name, content)).into_iter().collect(),
        Some(RuleKind::Yara) => match yara::compile(vec![(name.to_owned(), content.to_vec())], &Stop::default()) {
            Ok((_, complaints)) => complaints,
            Err(Trouble::Here(why) | Trouble::Gone(why)) => vec![format!("{name}: {why}")],
            Err(Trouble::Stopped) => Vec::new(),
        },
        Some(RuleKind::ClamAv) | None => Vec::new(),
    }
}

/// Which lines of a list are no hashes, where some are.
fn odd_lines(name: &str, odd: &[usize]) -> Option<String> {
    let numbers = |odd: &[usize]| odd.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match odd {
        [] => None,
        [one] => Some(format!("{name}: line {one} is no hash and is passed over")),
        odd if odd.len() <= MAX_LINES => Some(format!("{name}: lines {} are no hashes and are passed over", numbers(odd))),
        odd => {
            let first = numbers(odd.get(..MAX_LINES).unwrap_or_default());
            Some(format!("{name}: {} of its lines are no hashes and are passed over: {first} and so on", odd.len()))
        }
    }
}

fn differs(file: &DeliveredFile) -> VerbError {
    let message = format!("{}: what came is not what the library holds; try again", file.name);
    Problem::new("hash_differs", message).about(file.name.clone()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_no_hashes_are_told_by_their_numbers() {
        let check = |odd: &[usize], wanted: Option<&str>| assert_eq!(odd_lines("l", odd).as_deref(), wanted);
        check(&[], None);
        check(&[3], Some("l: line 3 is no hash and is passed over"));
        check(&[3, 4], Some("l: lines 3, 4 are no hashes and are passed over"));
        check(&[1, 2, 3, 4, 5, 6], Some("l: 6 of its lines are no hashes and are passed over: 1, 2, 3, 4, 5 and so on"));
    }

    #[test]
    fn what_is_wrong_with_rules_is_told_with_its_place() {
        let check = |name: &str, content: &[u8], wanted: &str| {
            let told = complaints(name, content);
            assert!(told.len() == 1 && told[0].starts_with(wanted), "{told:?}");
        };
        check("syn.yar", b"rule a {\n condition: tru }", "syn.yar:2:13: ");
        check("syn.yar", b"import \"cuckoo\" rule a { condition: true }", "syn.yar:1:");
        check("syn.yar", b"include \"other.yar\" rule a { condition: true }", "syn.yar:1:");
        check("syn.yar", b"rule \xff", "syn.yar: ");
        check("syn.yar", b"", "syn.yar: there is no rule in it");
        check("list.md5", b"no hash", "list.md5: line 1 is no hash");
        assert_eq!(complaints("good.yar", b"rule a { condition: true }"), Vec::<String>::new());
        assert_eq!(complaints("tool.sh", b"rule"), Vec::<String>::new());
    }
}
