//! The processes that are about to be ended, held; of a tree all that hang below, made to stand still so that none escapes.
//!
//! What is made to stand still is written down first: where the agent dies, the next start has it go on.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Effects;
use crate::agent::context::{Context, VerbError, VerbResult};
use crate::agent::dispatch::Shared;
use crate::agent::faults;
use crate::agent::identity::ProcessIdentity;
use crate::agent::journal::Record;
use crate::agent::platform::{HeldProcess, Process, stands_still};
use crate::agent::protection;
use crate::protocol::Problem;

/// How often the children of a tree are looked for anew, since they may have had more meanwhile.
const LOOKS: u32 = 64;
/// How long it is waited for that all stand still: whoever has not by then is looked for again before its parent ends.
const STILL_WITHIN: Duration = Duration::from_millis(500);
/// How often that is looked at: the kernel tells it to nobody but a parent.
const PACE: Duration = Duration::from_millis(1);

/// A process that is about to be ended, held.
pub struct Victim {
    /// What it was when it was looked at.
    pub process: Process,
    /// Itself.
    pub held: Arc<HeldProcess>,
    /// How far below the first.
    pub depth: usize,
    /// It was made to stand still.
    halted: bool,
}

impl Victim {
    /// Whether it has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.held.ended(Duration::ZERO).unwrap_or(false)
    }
}

/// A process and those below it, parents before children. When it is dropped, what stands still and was not ended goes on.
pub struct Tree {
    agent: Arc<Shared>,
    /// The processes.
    pub victims: Vec<Victim>,
}

impl Tree {
    /// Of one process alone.
    ///
    /// # Errors
    /// When it is protected, or the agent may not end it.
    pub fn of(ctx: &Context, process: Process, held: HeldProcess) -> Result<Self, VerbError> {
        let victim = Victim { process, held: Arc::new(held), depth: 0, halted: false };
        let tree = Self { agent: Arc::clone(&ctx.agent), victims: vec![victim] };
        tree.refuse(ctx, 0)?;
        Ok(tree)
    }

    /// Adds all that hang below and are not known yet. Unless it is only asked how it would be, each is made to stand still
    /// first, so that it has no more children while they are looked for. Which are new.
    ///
    /// # Errors
    /// When one is protected or cannot be ended, they are too fast, or the command was asked to stop.
    pub fn gather(&mut self, ctx: &Context) -> Result<Range<usize>, VerbError> {
        let first = self.victims.len();
        for _ in 0..LOOKS {
            if !ctx.flag("plan") {
                self.halt(ctx)?;
            }
            let found = self.victims.len();
            self.look(ctx)?;
            if found == self.victims.len() {
                return Ok(first..found);
            }
            self.refuse(ctx, found)?;
        }
        Err(VerbError::failed("busy", "its children have children faster than they can be held"))
    }

    /// Adds the children that those have who still live: a number may have been given anew.
    fn look(&mut self, ctx: &Context) -> VerbResult {
        let all = ctx.agent.platform.processes(&ctx.stop)?;
        let mut living: Vec<(u32, usize)> =
            self.victims.iter().filter(|victim| !victim.is_over()).map(|victim| (victim.process.pid, victim.depth)).collect();
        // Children may have lower numbers than their parents, so that one pass does not find all: the next look does.
        for process in all {
            let above = living.iter().find(|(pid, _)| *pid == process.parent_id).map(|(_, depth)| *depth);
            let Some(above) = above.filter(|_| !process.status.is_over()) else { continue };
            if living.iter().any(|(pid, _)| *pid == process.pid) {
                continue;
            }
            let Ok(held) = HeldProcess::open(process.pid) else { continue };
            // Whose number was given anew meanwhile is no child.
            let same = ctx.agent.platform.process(process.pid)?.is_some_and(|now| now.start_ticks == process.start_ticks);
            if same {
                living.push((process.pid, above + 1));
                self.victims.push(Victim { process, held: Arc::new(held), depth: above + 1, halted: false });
            }
        }
        Ok(())
    }

    /// Refuses what must live, and what the agent has no right to end.
    fn refuse(&self, ctx: &Context, from: usize) -> Result<(), VerbError> {
        let all = ctx.agent.platform.processes(&ctx.stop)?;
        for victim in self.victims.iter().skip(from) {
            let (pid, name) = (victim.process.pid, &victim.process.name);
            if let Some(why) = protection::of_process(&victim.process, &ctx.command.shells, &all) {
                let message = format!("process {pid} ({name}) is never ended: {why}");
                return Err(Problem::new("protected", message).about("id").into());
            }
            if !victim.held.may_be_ended() {
                let names = ctx.agent.accounts.names(&ctx.agent.root);
                let message =
                    format!("process {pid} ({name}): the agent may not end it: it is {}'s", names.user(victim.process.uid));
                return Err(Problem::new("permission_denied", message).about("id").into());
            }
        }
        Ok(())
    }

    /// Makes all stand still that do not, but for those that others have stopped: these stay so whatever comes.
    fn halt(&mut self, ctx: &Context) -> VerbResult {
        let moves = |victim: &&mut Victim| !victim.halted && !stands_still(victim.process.pid, false);
        let mut moving: Vec<&mut Victim> = self.victims.iter_mut().filter(moves).collect();
        if moving.is_empty() {
            return Ok(());
        }
        let boot_id = &ctx.agent.hello.boot_id;
        let processes = moving.iter().map(|victim| ProcessIdentity {
            pid: victim.process.pid,
            start_ticks: victim.process.start_ticks,
            boot_id: boot_id.clone(),
        });
        ctx.agent.effects.write(Record::Halt { processes: processes.collect() })?;
        for victim in &mut moving {
            victim.halted = true;
            // One that has ended meanwhile is found so.
            let _ = victim.held.stop();
        }
        faults::point("process.after_halt");
        let until = Instant::now() + STILL_WITHIN;
        while moving.iter().any(|victim| !victim.is_over() && !stands_still(victim.process.pid, true)) {
            ctx.stop.check()?;
            if Instant::now() >= until {
                break;
            }
            std::thread::sleep(PACE);
        }
        Ok(())
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if self.victims.iter().all(|victim| !victim.halted) {
            return;
        }
        for victim in self.victims.iter().filter(|victim| victim.halted) {
            // Those that were ended are no longer there to go on.
            let _ = victim.held.go_on();
        }
        self.agent.effects.gone_on();
    }
}

impl Effects {
    /// Writes down that nothing stands still any more.
    pub(super) fn gone_on(&self) {
        if let Err(problem) = self.write(Record::GoOn) {
            tracing::error!(%problem, "that processes go on cannot be written down");
        }
    }
}
