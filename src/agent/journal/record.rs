//! What the journal keeps: one line a record, a CRC-32 in hexadecimal, a blank, and the record's JSON.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::clock::{Moment, Uptime};
use super::step::Step;
use crate::agent::identity::ProcessIdentity;
use crate::protocol::{CommandId, SessionId};

/// A record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// Something is about to be changed. On disk before it is.
    Intent(Intent),
    /// One of the steps of an effect that has several is over.
    Step {
        /// The effect.
        id: u64,
        /// Which of its steps, from 0.
        step: usize,
        /// What became of it.
        outcome: Outcome,
    },
    /// An effect is over.
    Close(Close),
    /// Processes are about to be made to stand still, until [`Record::GoOn`].
    Halt {
        /// Which.
        processes: Vec<ProcessIdentity>,
    },
    /// All that were made to stand still go on, or have ended.
    GoOn,
    /// What was kept for an effect has been kept long enough, and is about to be removed.
    Expire {
        /// The effect.
        id: u64,
        /// When.
        time: Timestamp,
    },
    /// What the clocks say, while something is kept: how long is told by them.
    Clock(Moment),
}

/// What is about to be changed, with all that it takes to undo it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    /// The effect's number, from 1.
    pub id: u64,
    /// When.
    pub time: Timestamp,
    /// The command that asked for it.
    pub command_id: CommandId,
    /// The command's session.
    pub session_id: SessionId,
    /// Who typed the command.
    pub analyst: String,
    /// An entity type, as `remediate` names it.
    pub entity: String,
    /// What is changed, as the looking command names it.
    pub target: String,
    /// The effect that this one undoes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<u64>,
    /// The effect whose undo this one makes room for, with `-overwrite`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aside_for: Option<u64>,
    /// How it is before.
    pub before: Value,
    /// What is done, in order.
    pub steps: Vec<Step>,
    /// What is said of it whatever comes of it: why an image stays, where evidence is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// How it stands.
    pub state: StepState,
    /// Why, where it is not simply done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What was found in doing it, for its undoing.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub found: Value,
}

impl Outcome {
    /// It was done.
    #[must_use]
    pub fn done(found: Value) -> Self {
        Self { state: StepState::Done, reason: None, found }
    }

    /// It was not done, and everything is as before.
    #[must_use]
    pub fn not_done(reason: impl Into<String>) -> Self {
        Self { state: StepState::NotDone, reason: Some(reason.into()), found: Value::Null }
    }
}

/// How a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// Done.
    Done,
    /// Not done: as before.
    NotDone,
    /// Something else than what was seen is in quarantine, and could not be put back.
    Kept,
}

/// How an effect ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Close {
    /// The effect.
    pub id: u64,
    /// When.
    pub time: Timestamp,
    /// How it stands.
    pub state: State,
    /// What became of each step.
    pub outcomes: Vec<Outcome>,
    /// Why, where that needs saying.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the kernel had counted by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime: Option<Uptime>,
}

/// How an effect stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Begun; only while it is being done, or when its agent died.
    Open,
    /// Done.
    Done,
    /// Not done; everything is as before.
    NotDone,
    /// Some of its steps are done.
    Partly,
    /// Something else than what was seen is in quarantine, since its name was taken when it should have been put back.
    Kept,
    /// Done, and undone again.
    Undone,
    /// Done, and what was kept for it is gone, since its time was over.
    Expired,
}

impl State {
    /// The state that what became of all changing steps makes.
    #[must_use]
    pub fn of(outcomes: &[StepState]) -> Self {
        let all = |state| outcomes.iter().all(|outcome| *outcome == state);
        if outcomes.contains(&StepState::Kept) {
            Self::Kept
        } else if all(StepState::Done) {
            Self::Done
        } else if all(StepState::NotDone) {
            Self::NotDone
        } else {
            Self::Partly
        }
    }

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Done => "done",
            Self::NotDone => "not_done",
            Self::Partly => "partly",
            Self::Kept => "kept",
            Self::Undone => "undone",
            Self::Expired => "expired",
        }
    }
}

impl Record {
    /// The line that keeps it.
    ///
    /// # Errors
    /// When a value in it cannot be written as JSON.
    pub fn line(&self) -> serde_json::Result<Vec<u8>> {
        let json = serde_json::to_vec(self)?;
        let mut line = format!("{:08x} ", crc32fast::hash(&json)).into_bytes();
        line.extend_from_slice(&json);
        line.push(b'\n');
        Ok(line)
    }

    /// Reads a line, without its end; `None` when it is damaged.
    #[must_use]
    pub fn read(line: &[u8]) -> Option<Self> {
        let (sum, json) = line.split_at_checked(9)?;
        let sum = std::str::from_utf8(sum).ok()?.strip_suffix(' ')?;
        (u32::from_str_radix(sum, 16).ok()? == crc32fast::hash(json)).then(|| serde_json::from_slice(json).ok()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_as_what_was_written_and_a_damaged_one_not_at_all() {
        let record = Record::Step { id: 7, step: 1, outcome: Outcome::not_done("näh") };
        let line = record.line().unwrap();
        assert_eq!(Record::read(line.strip_suffix(b"\n").unwrap()), Some(record));
        for at in 0..line.len() - 1 {
            let mut damaged = line.clone();
            damaged[at] ^= 1;
            assert_eq!(Record::read(damaged.strip_suffix(b"\n").unwrap()), None, "byte {at}");
            assert_eq!(Record::read(&line[..at]), None);
        }
    }

    #[test]
    fn outcomes_make_a_state() {
        let check = |states: &[StepState], state| assert_eq!(State::of(states), state, "{states:?}");
        check(&[StepState::Done], State::Done);
        check(&[StepState::NotDone, StepState::NotDone], State::NotDone);
        check(&[StepState::Done, StepState::NotDone], State::Partly);
        check(&[StepState::Done, StepState::Kept], State::Kept);
    }
}
