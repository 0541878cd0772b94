//! Changes made on the device: planned, journaled, carried out, told, and undone.
//!
//! A change is an effect made of steps ([`Act`]). What is to be done is in the journal and on the disk before the first step
//! begins; how it ended is there before anybody is told.

mod again;
mod evidence;
mod file;
mod image;
mod isolation;
mod manage;
mod process;
mod recover;
mod retention;
mod service;
mod session;
mod startup;
mod task;
mod told;
mod tree;
mod undo;
mod way_back;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::context::{Context, Meter, Stop, VerbError, VerbResult};
use super::faults;
use super::journal::{
    Close, Disk, Entry, Intent, Journal, Moment, Outcome, Quarantined, Record, Shelf, State, Step, StepState, agent_folder,
};
use super::path::{lossy, problem};
use super::platform::Root;
use super::quarantine::{CAP, Quarantine};
use crate::protocol::text::exact;
use crate::protocol::{CommandId, Effect, Problem};

pub use file::{remediate as remediate_file, remove as remove_file};
pub use isolation::{isolate, release};
pub use process::remediate as remediate_process;
pub use service::remediate as remediate_service;
pub use session::undo_session;
pub use startup::remediate as remediate_startup;
pub use task::remediate as remediate_task;
pub use told::list;
pub use undo::{undo_one, undo_target};

/// Why a step was not done, where its command was asked to stop.
const STOPPED: &str = "the command was asked to stop";

/// What an agent keeps of its changes.
#[derive(Debug)]
pub struct Effects {
    /// Where removed things are kept.
    pub quarantine: Quarantine,
    /// For how many days they are kept.
    pub days: u32,
    journal: Mutex<Option<Journal>>,
    /// Held while something is changed: one change after the other.
    acting: Mutex<()>,
    recovered: Mutex<Vec<(CommandId, Effect)>>,
}

/// `agent.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// How many bytes quarantine holds at most.
    quarantine_bytes: Option<u64>,
    /// How many days it keeps what was removed.
    quarantine_days: Option<u32>,
}

impl Settings {
    /// What holds while nobody can tell what was set: nothing that is kept goes.
    fn keeping() -> Self {
        Self { quarantine_bytes: None, quarantine_days: Some(u32::MAX) }
    }
}

/// One step of a change, ready to be carried out: everything it acts on is held open.
pub trait Act {
    /// What the journal keeps of it.
    fn step(&self) -> Step;

    /// Carries it out.
    fn run(&mut self, on: &Acting<'_>) -> Outcome;
}

/// What a step is given.
pub struct Acting<'a> {
    /// The device's files.
    pub root: &'a Root,
    /// Journal and quarantine.
    pub effects: &'a Effects,
    /// The word to stop.
    pub stop: &'a Stop,
    /// What it costs.
    pub meter: &'a Meter,
}

/// A change that is ready to be carried out.
pub struct Change {
    /// An entity type, as `remediate` names it.
    pub entity: &'static str,
    /// What is changed, as the looking command names it.
    pub target: String,
    /// The effect that it undoes.
    pub undoes: Option<u64>,
    /// How it is before.
    pub before: Value,
    /// Its steps, in order.
    pub acts: Vec<Box<dyn Act>>,
    /// What is said of it whatever comes of it.
    pub notes: Vec<String>,
}

/// A change that is written down, and what became of the steps that are over.
struct Begun {
    id: u64,
    change: Change,
    outcomes: Vec<Outcome>,
}

impl Begun {
    /// Whether all that was done of it was done well.
    fn is_well(&self) -> bool {
        self.outcomes.iter().all(|outcome| outcome.state == StepState::Done)
    }
}

impl Effects {
    /// Those of the agent with that folder.
    #[must_use]
    pub fn new(folder: PathBuf, disk: Arc<dyn Disk>) -> Self {
        let settings = match std::fs::read_to_string(folder.join("agent.toml")).map(|text| toml::from_str::<Settings>(&text)) {
            Ok(Ok(settings)) => settings,
            Ok(Err(error)) => {
                tracing::error!(%error, "agent.toml is not understood");
                Settings::keeping()
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Settings::default(),
            Err(error) => {
                tracing::error!(%error, "agent.toml cannot be read");
                Settings::keeping()
            }
        };
        Self {
            quarantine: Quarantine { folder, cap: settings.quarantine_bytes.unwrap_or(CAP), disk },
            days: settings.quarantine_days.unwrap_or(retention::DAYS),
            journal: Mutex::default(),
            acting: Mutex::default(),
            recovered: Mutex::default(),
        }
    }

    /// What was found open at the agent's start.
    #[must_use]
    pub fn recovered(&self) -> Vec<(CommandId, Effect)> {
        self.recovered.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The journal; made where there is none and `make` says so.
    fn journal(&self, make: bool) -> Result<MutexGuard<'_, Option<Journal>>, Problem> {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        if journal.is_none() && (make || self.quarantine.folder.join("journal").exists()) {
            let opened = agent_folder(&self.quarantine.folder, self.quarantine.disk.as_ref())
                .and_then(|folder| Journal::open(&folder, Arc::clone(&self.quarantine.disk), make));
            *journal = opened.map_err(|error| self.unusable(&error))?;
        }
        Ok(journal)
    }

    fn unusable(&self, error: &io::Error) -> Problem {
        let why = problem(&self.quarantine.folder.join("journal"), error);
        Problem {
            message: format!("the journal of changes cannot be used, so that nothing is changed: {}", why.message),
            ..why
        }
    }

    /// The effects of the journal, the oldest first.
    ///
    /// # Errors
    /// When the journal cannot be opened.
    pub fn entries(&self) -> Result<Vec<Entry>, Problem> {
        Ok(self.journal(false)?.iter().flat_map(Journal::entries).cloned().collect())
    }

    /// What is missing in the journal, where something is.
    ///
    /// # Errors
    /// When the journal cannot be opened.
    pub fn damage(&self) -> Result<Option<Problem>, Problem> {
        let records = match self.journal(false)?.as_ref().map_or(0, Journal::damaged) {
            0 => return Ok(None),
            1 => "a record of the journal of changes is damaged, and is left out".to_owned(),
            several => format!("{several} records of the journal of changes are damaged, and are left out"),
        };
        let folder = lossy(&self.quarantine.own_path());
        let message = format!("{records}: what they told of may still lie in {folder}");
        Ok(Some(Problem::new("journal_damaged", message).at(lossy(&self.quarantine.folder.join("journal")))))
    }

    /// The quarantine folders on other file systems that hold something.
    #[must_use]
    pub fn shelves(&self) -> Vec<PathBuf> {
        let entries = self.entries().unwrap_or_default();
        let shelves = entries.iter().flat_map(Entry::kept).map(|kept| &kept.shelf);
        shelves.filter(|shelf| **shelf != Shelf::Own).map(|shelf| self.quarantine.path(shelf)).collect()
    }

    /// How many bytes the quarantine holds.
    fn used(&self) -> Result<u64, Problem> {
        let kept = |entry: &Entry| -> u64 { entry.kept().map(Quarantined::bytes).sum::<u64>() + entry.evidence_bytes() };
        Ok(self.journal(false)?.iter().flat_map(Journal::entries).map(kept).sum())
    }

    fn write(&self, record: Record) -> Result<(), Problem> {
        match self.journal(true)?.as_mut() {
            Some(journal) => journal.write(record).map_err(|error| self.unusable(&error)),
            None => Err(Problem::new("internal", "there is no journal")),
        }
    }

    /// Writes down what is about to be done; its number.
    fn intend(&self, ctx: &Context, change: &Change, aside_for: Option<u64>) -> Result<u64, Problem> {
        let mut journal = self.journal(true)?;
        let Some(journal) = journal.as_mut() else { return Err(Problem::new("internal", "there is no journal")) };
        let id = journal.next_id();
        let intent = Intent {
            id,
            time: Timestamp::now(),
            command_id: ctx.command.command_id,
            session_id: ctx.command.session_id.clone(),
            analyst: ctx.command.analyst.clone(),
            entity: change.entity.to_owned(),
            target: change.target.clone(),
            undoes: change.undoes,
            aside_for,
            before: change.before.clone(),
            steps: change.acts.iter().map(|act| act.step()).collect(),
            notes: change.notes.clone(),
        };
        journal.write(Record::Intent(intent)).map_err(|error| self.unusable(&error))?;
        Ok(id)
    }

    /// One change at a time: held from its planning to its end.
    pub fn one_at_a_time(&self) -> MutexGuard<'_, ()> {
        self.acting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a change down, carries it out step by step, writes down how it ended, and tells it.
    ///
    /// # Errors
    /// When the journal cannot be written (nothing was done then), or not all of it was done: the reason.
    pub fn carry_out(&self, ctx: &mut Context, change: Change) -> VerbResult {
        self.effect_of(ctx, change, None).map(drop)
    }

    /// The same; the number that the effect has. `aside_for` is the effect whose undo it makes room for.
    ///
    /// # Errors
    /// As [`Effects::carry_out`].
    pub fn effect_of(&self, ctx: &mut Context, change: Change, aside_for: Option<u64>) -> Result<u64, VerbError> {
        let begun = self.begin(ctx, change, aside_for)?;
        let id = begun.id;
        self.finish(ctx, begun).map(|()| id)
    }

    /// Writes a change down; nothing of it is done yet.
    ///
    /// # Errors
    /// When the journal cannot be written, or the command was asked to stop.
    fn begin(&self, ctx: &Context, change: Change, aside_for: Option<u64>) -> Result<Begun, VerbError> {
        ctx.stop.check().map_err(|_| VerbError::Stopped { done: vec![], not_done: vec![name_of(&change)] })?;
        self.expire(&ctx.agent.root);
        let id = self.intend(ctx, &change, aside_for)?;
        Ok(Begun { id, change, outcomes: Vec::new() })
    }

    /// Does what changes nothing on the device: those steps in front that only keep something. Whether all was kept.
    ///
    /// # Errors
    /// When the journal cannot be written.
    fn prepare(&self, ctx: &Context, begun: &mut Begun) -> Result<bool, Problem> {
        while begun.change.acts.get(begun.outcomes.len()).is_some_and(|act| !act.step().is_change()) {
            self.next_step(ctx, begun)?;
        }
        Ok(begun.is_well())
    }

    /// Does all of a change that is not done yet, writes down how it ended, and tells it.
    ///
    /// # Errors
    /// When the journal cannot be written, or not all of it was done: the reason.
    fn finish(&self, ctx: &mut Context, mut begun: Begun) -> VerbResult {
        while begun.outcomes.len() < begun.change.acts.len() {
            self.next_step(ctx, &mut begun)?;
        }
        self.end(ctx, begun)
    }

    /// Gives a change up of which nothing is done but that something was kept, and tells it.
    ///
    /// # Errors
    /// When the journal cannot be written, else why it was given up.
    fn give_up(&self, ctx: &mut Context, mut begun: Begun, why: &str) -> VerbResult {
        let kept = std::mem::take(&mut begun.outcomes).into_iter().zip(&begun.change.acts);
        for (outcome, act) in kept {
            let failed = outcome.state != StepState::Done;
            if let Step::Evidence(evidence) = act.step() {
                self.forget_evidence(&evidence);
            }
            begun.outcomes.push(if failed { outcome } else { Outcome::not_done(why) });
        }
        begun.outcomes.resize(begun.change.acts.len(), Outcome::not_done(why));
        self.end(ctx, begun)
    }

    /// One step of a change; none is done behind one that was not, or when the command was asked to stop.
    fn next_step(&self, ctx: &Context, begun: &mut Begun) -> Result<(), Problem> {
        let on = Acting { root: &ctx.agent.root, effects: self, stop: &ctx.stop, meter: &ctx.meter };
        let (step, several, is_well) = (begun.outcomes.len(), begun.change.acts.len() > 1, begun.is_well());
        let outcome = match begun.change.acts.get_mut(step) {
            Some(act) if is_well && !ctx.stop.asked() => act.run(&on),
            Some(_) if is_well => Outcome::not_done(STOPPED),
            _ => Outcome::not_done("a step before it was not done"),
        };
        if several {
            self.write(Record::Step { id: begun.id, step, outcome: outcome.clone() })?;
        }
        begun.outcomes.push(outcome);
        Ok(())
    }

    fn end(&self, ctx: &mut Context, begun: Begun) -> VerbResult {
        let what = name_of(&begun.change);
        let entry = self.close(begun.id, begun.outcomes, None)?;
        let agent = Arc::clone(&ctx.agent);
        entry.intent.steps.iter().filter_map(Step::shelf).for_each(|shelf| self.quarantine.tidy(&agent.root, shelf));
        faults::point("effect.before_told");
        let effect = entry.told();
        let state = entry.state();
        ctx.effect(effect.clone())?;
        match state {
            State::Done => Ok(()),
            _ if ctx.stop.asked() => {
                let done = (state == State::Partly).then(|| format!("{} {}", effect.action, effect.target));
                Err(VerbError::Stopped { done: done.into_iter().collect(), not_done: vec![what] })
            }
            _ => {
                let reason = effect.reason.unwrap_or_else(|| "it was not done".to_owned());
                Err(Problem::new(state.as_str(), reason).at(effect.target).into())
            }
        }
    }

    /// Writes down how an effect ended.
    fn close(&self, id: u64, outcomes: Vec<Outcome>, reason: Option<String>) -> Result<Entry, Problem> {
        let steps = self.journal(true)?.as_ref().and_then(|journal| journal.entry(id)).map(|entry| entry.intent.steps.clone());
        let steps = steps.unwrap_or_default();
        let changes = outcomes.iter().zip(&steps).filter(|(_, step)| step.is_change()).map(|(outcome, _)| outcome.state);
        let state = State::of(&changes.collect::<Vec<_>>());
        let Moment { time, uptime } = Moment::now();
        let close = Close { id, time, state, outcomes, reason, uptime: Some(uptime) };
        self.write(Record::Close(close))?;
        let entry = self.journal(true)?.as_ref().and_then(|journal| journal.entry(id).cloned());
        entry.ok_or_else(|| Problem::new("internal", "the journal lost an effect"))
    }
}

fn name_of(change: &Change) -> String {
    format!("{} {}", change.entity, change.target)
}

/// The identity that the session has seen of an entity.
///
/// # Errors
/// When it has not looked: an error that names the command to run.
pub fn seen<T: DeserializeOwned>(ctx: &Context, entity: &str, key: &str) -> Result<T, Problem> {
    if let Some(item) = ctx.command.seen.iter().rev().find(|item| item.key == key) {
        return serde_json::from_value(item.identity.clone())
            .map_err(|error| Problem::new("internal", format!("what was seen of {key} is not understood: {error}")));
    }
    let row = crate::grammar::table().find("remediate");
    let first = row.and_then(|row| row.prerequisites.get(entity)).map(|first| match &first.param {
        Some(param) if param == "path" => format!("{} {}", first.command, crate::grammar::quoted(&exact(key, "/"))),
        Some(_) => format!("{} {}", first.command, crate::grammar::quoted(key)),
        None => first.command.clone(),
    });
    let first = first.unwrap_or_default();
    let looks = if ctx.flag("plan") { " (with -plan, that looks and changes nothing)" } else { "" };
    let message = format!("{key}: this session has not looked at it; run `{first}` first, or give -auto{looks}");
    Err(Problem::new("prerequisite", message).at(key))
}
