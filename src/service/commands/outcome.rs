//! How a command ended, when it was not the device that said so.

use std::time::Duration;

use jiff::Timestamp;

use crate::protocol::{Body, Completed, Cost, Problem, Receipt, Status, TIME_LIMIT};
use crate::service::state::{Command, millis_between, push};

pub(super) fn ended(status: Status, duration_ms: u64, errors: Vec<Problem>) -> Completed {
    Completed { status, duration_ms, cost: Cost::default(), errors }
}

pub(super) fn failed(problem: Problem) -> Completed {
    ended(Status::Failed, 0, vec![problem])
}

fn so_far(command: &Command) -> u64 {
    command.record().started.map_or(0, |started| millis_between(started, Timestamp::now()))
}

pub(super) fn interrupted(command: &Command, why: &str) -> Completed {
    ended(Status::Interrupted, so_far(command), vec![Problem::new("interrupted", why)])
}

pub(super) fn expired(command: &Command, limit: Duration) -> Completed {
    let message = format!("the time limit of {} s was reached, and the device has not confirmed the end", limit.as_secs());
    let not_done = vec!["it may still go on on the device".into()];
    let receipt = Receipt { confirmed: false, done: Vec::new(), not_done, by: TIME_LIMIT.into() };
    push(&command.stream, &Body::Receipt(receipt));
    ended(Status::Expired, so_far(command), vec![Problem::new("time_limit", message)])
}

/// A command of the service that stopped because it was asked to; what it says is what it left undone.
pub(super) fn cancelled(command: &Command, not_done: String) -> Completed {
    let by = command.record().cancelled_by.clone().unwrap_or_default();
    let receipt = Receipt { confirmed: true, done: Vec::new(), not_done: vec![not_done], by };
    push(&command.stream, &Body::Receipt(receipt));
    ended(Status::Cancelled, so_far(command), Vec::new())
}

pub(super) fn stopped_early(command: &Command) -> Completed {
    let by = command.record().cancelled_by.clone().unwrap_or_default();
    let receipt = Receipt { confirmed: true, done: Vec::new(), not_done: vec!["it had not been started".into()], by };
    push(&command.stream, &Body::Receipt(receipt));
    ended(Status::Cancelled, 0, Vec::new())
}
