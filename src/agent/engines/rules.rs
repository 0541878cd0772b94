//! What the engines look with: the rule files that came with a command, checked and read, and our own rules.

use std::collections::VecDeque;
use std::sync::Arc;

use boreal::Scanner;
use sha2::{Digest, Sha256};

use super::clamav::ClamAv;
use super::hashes::HashLists;
use super::{Trouble, yara};
use crate::agent::context::{Context, VerbError};
use crate::agent::digest::hex;
use crate::protocol::Problem;
use crate::protocol::link::{DeliveredFile, MAX_RULES, RuleKind};

/// What all judges of a command share.
pub struct Rules {
    /// Lists of hashes.
    pub hashes: Arc<HashLists>,
    /// The library's YARA rules.
    pub yara: Option<Scanner>,
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
                    let odd = lists.add(&file.name, &bytes);
                    if odd > 0 {
                        let what = format!("{}: {odd} of its lines are no hash and were passed over", file.name);
                        ctx.problem(Problem::new("bad_rules", what).about(file.name));
                    }
                }
                Some(RuleKind::Yara) => yara_files.push((file.name, bytes)),
                Some(RuleKind::ClamAv) => clamav.push((file.name, bytes)),
                None => {}
            }
        }
        let mut failed = Vec::new();
        let mut scanner = None;
        if !yara_files.is_empty() {
            match yara::compile(yara_files, &ctx.stop) {
                Ok((compiled, complaints)) => {
                    if compiled.is_none() {
                        failed.push(("yara", format!("no rule file of the library is understood: {}", complaints.join("; "))));
                    }
                    scanner = compiled;
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
        Ok(Self { hashes: Arc::new(lists), yara: scanner, builtin, clamav: Arc::new(clamav), failed })
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

fn differs(file: &DeliveredFile) -> VerbError {
    let message = format!("{}: what came is not what the library holds; try again", file.name);
    Problem::new("hash_differs", message).about(file.name.clone()).into()
}
