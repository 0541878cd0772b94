//! `isolate` and `release`: the device is cut off the network, and back on it. How it stands is the kernel's to say.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{Timestamp, Unit};
use serde_json::{Value, json};

use super::{Act, Acting, Change, Entry};
use crate::agent::context::{Context, VerbError, VerbResult};
use crate::agent::dispatch::Shared;
use crate::agent::journal::{Isolated, Outcome, State, Step, StepState};
use crate::agent::platform::Platform;
use crate::agent::platform::isolation::{Isolating, Isolation, Network};
use crate::agent::ways::{Known, Way, of_shells};
use crate::grammar;
use crate::protocol::{Problem, StreamName};

/// The entity type of these effects.
pub const ENTITY: &str = "isolation";
const TARGET: &str = "network";
/// How long an isolation lasts when nothing is said.
const DEFAULT: Duration = Duration::from_hours(24);
/// The longest that can be asked for.
const MOST: Duration = Duration::from_hours(24 * 30);

/// `isolate`.
///
/// # Errors
/// When it cannot be cut off, or an analyst's own way to it would be.
pub fn isolate(ctx: &mut Context) -> VerbResult {
    let agent = Arc::clone(&ctx.agent);
    let _one = agent.effects.one_at_a_time();
    // Who may not look may not change either: nothing else needs finding out then.
    let now = agent.platform.isolation()?;
    let time = time(ctx)?;
    let allow = allowed(ctx)?;
    let (ways, mut notes) = ways(ctx, !allow.is_empty())?;
    for Way { shell, connection } in &ways {
        notes.push(format!("the ssh connection {connection} of the shell with process {shell} stays"));
    }
    let keep: BTreeSet<_> = ways.iter().map(|way| way.connection).collect();
    let token = ctx.command.command_id.to_string().bytes().rev().take(12).map(char::from).collect();
    let isolating = Isolating { token, time, allow, keep: keep.into_iter().collect() };
    let (before, replaced) = replaced(now.as_ref(), &agent.effects.entries()?, &isolating);
    notes.extend(replaced);
    let allow = isolating.allow.clone();
    let learned = Arc::new(Mutex::default());
    let act = Isolate { agent: Arc::clone(&agent), isolating, learned: Arc::clone(&learned) };
    let change = Change {
        entity: ENTITY,
        target: TARGET.to_owned(),
        undoes: None,
        before,
        acts: vec![Box::new(act)],
        notes: notes.clone(),
    };
    agent.effects.carry_out(ctx, change)?;
    notes.append(&mut learned.lock().unwrap_or_else(PoisonError::into_inner));
    let left = agent.platform.isolation()?.and_then(|isolation| isolation.left).unwrap_or_default();
    ctx.text(StreamName::Stdout, said(end(Timestamp::now(), left), &allow, &notes).as_bytes())
}

/// The isolation that another takes the place of, as effects carry it, and what of it is no longer so then.
fn replaced(now: Option<&Isolation>, entries: &[Entry], by: &Isolating) -> (Value, Vec<String>) {
    let time = Timestamp::now();
    let mut before = told(now, time);
    let mut notes = Vec::new();
    let Some((now, left)) = now.and_then(|now| Some((now, now.left?))) else { return (before, notes) };
    let until = end(time, left);
    notes.push(if left > by.time {
        format!("it is cut short: the isolation that was there, whose place this one takes, was until {until}")
    } else {
        format!("it takes the place of an isolation until {until}")
    });
    let began = entries.iter().rev().flat_map(|entry| &entry.intent.steps).find_map(|step| match step {
        Step::Isolate(isolated) if isolated.token == now.token => Some(isolated),
        _ => None,
    });
    match began {
        Some(began) => {
            if let Some(before) = before.as_object_mut() {
                before.insert("allow".to_owned(), json!(began.allow));
                before.insert("kept".to_owned(), json!(began.keep));
            }
            let lost = began.allow.iter().filter(|text| {
                let network = Network::parse(text);
                network.is_none_or(|network| !by.allow.iter().any(|allowed| allowed.holds(&network)))
            });
            let lost: Vec<&str> = lost.map(String::as_str).collect();
            if !lost.is_empty() {
                notes.push(format!("no longer reachable: {}", lost.join(", ")));
            }
        }
        // Another home's.
        None => notes.push("what that one kept reachable is not known here".to_owned()),
    }
    (before, notes)
}

/// What the analyst is told of it.
fn said(until: Timestamp, allow: &[Network], notes: &[String]) -> String {
    let mut said = format!("The device is cut off the network until {until}, or until `release`.\n");
    if !allow.is_empty() {
        let allow: Vec<String> = allow.iter().map(ToString::to_string).collect();
        said.push_str(&format!("Reachable: {}\n", allow.join(", ")));
    }
    for note in notes {
        said.push_str(&format!("Note: {note}\n"));
    }
    said
}

/// `release`.
///
/// # Errors
/// When there is nothing to end, or it cannot be ended.
pub fn release(ctx: &mut Context) -> VerbResult {
    let agent = Arc::clone(&ctx.agent);
    let _one = agent.effects.one_at_a_time();
    let now = agent.platform.isolation()?;
    let Some(now) = now.filter(|now| now.left.is_some()) else {
        return Err(Problem::new("nothing_to_do", "the device is not isolated").into());
    };
    let entries = agent.effects.entries()?;
    let newest =
        entries.iter().rev().find(|entry| entry.state() == State::Done && token_of(&entry.intent.steps) == Some(&now.token));
    let before = told(Some(&now), Timestamp::now());
    let act = Release { agent: Arc::clone(&agent), token: now.token };
    let change = Change {
        entity: ENTITY,
        target: TARGET.to_owned(),
        undoes: newest.map(|entry| entry.intent.id),
        before,
        acts: vec![Box::new(act)],
        notes: Vec::new(),
    };
    agent.effects.carry_out(ctx, change)?;
    ctx.text(StreamName::Stdout, b"The device is back on the network.\n")
}

fn token_of(steps: &[Step]) -> Option<&String> {
    steps.iter().find_map(|step| match step {
        Step::Isolate(isolated) => Some(&isolated.token),
        _ => None,
    })
}

/// What undoes an isolation: its end.
///
/// # Errors
/// When it has ended already, or another has taken its place.
pub fn reverse(agent: &Arc<Shared>, step: &Isolated) -> Result<Box<dyn Act>, VerbError> {
    match agent.platform.isolation()? {
        Some(Isolation { token, left: Some(_) }) if token == step.token => {
            Ok(Box::new(Release { agent: Arc::clone(agent), token }))
        }
        Some(Isolation { left: Some(_), .. }) => {
            Err(Problem::new("conflict", "the device has been isolated anew since: `release` ends that").into())
        }
        _ => Err(Problem::new("nothing_to_do", "that isolation has ended already").into()),
    }
}

/// What the kernel says, as effects carry it.
fn told(isolation: Option<&Isolation>, now: Timestamp) -> Value {
    let until = isolation.and_then(|isolation| isolation.left).map(|left| end(now, left));
    json!({ "isolated": until.is_some(), "until": until.map(|until| until.to_string()) })
}

/// When it ends, to the nearest second: more nobody asks for.
fn end(now: Timestamp, left: Duration) -> Timestamp {
    let end = now.checked_add(left).ok().and_then(|end| end.round(Unit::Second).ok());
    end.unwrap_or(Timestamp::MAX)
}

fn time(ctx: &Context) -> Result<Duration, Problem> {
    let Some(text) = ctx.param("for") else { return Ok(DEFAULT) };
    let bad = |why: &str| Problem::new("bad_value", format!("-for {text}: {why}")).about("for");
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 86400,
        _ => return Err(bad("it needs a unit: s, m, h or d")),
    };
    let count = text.strip_suffix(char::is_alphabetic).and_then(|count| count.parse::<u64>().ok());
    let seconds = count.and_then(|count| count.checked_mul(unit)).ok_or_else(|| bad("it is no duration"))?;
    match Duration::from_secs(seconds) {
        Duration::ZERO => Err(bad("that is no time at all")),
        time if time > MOST => Err(bad("an isolation lasts 30 days at most")),
        time => Ok(time),
    }
}

fn allowed(ctx: &Context) -> Result<Vec<Network>, Problem> {
    let mut all = BTreeSet::new();
    for text in ctx.param("allow").into_iter().flat_map(|text| text.split(',')) {
        let text = text.trim();
        let (address, length) = grammar::address(text)
            .map_err(|expected| Problem::new("bad_value", format!("-allow {text}: expected {expected}")).about("allow"))?;
        all.insert(Network::new(address, length));
    }
    Ok(all.into_iter().collect())
}

/// The connections that attached shells have come in by; where one cannot be told, why.
fn ways(ctx: &Context, others_are_allowed: bool) -> Result<(BTreeSet<Way>, Vec<String>), VerbError> {
    let platform = &ctx.agent.platform;
    let (processes, connections) = (platform.processes(&ctx.stop)?, platform.connections(&ctx.stop)?);
    let environment = |pid: u32| platform.environment(pid).unwrap_or_default();
    let known = Known { processes: &processes, connections: &connections, environment: &environment };
    let mut shells: Vec<u32> = ctx.command.shells.iter().map(|shell| shell.pid).collect();
    shells.sort_unstable();
    shells.dedup();
    let (ways, unclear) = of_shells(&shells, &known);
    match unclear.first() {
        Some(why) if !others_are_allowed => {
            let message = format!("{why}; name the address that you come from: isolate -allow ADDRESS");
            Err(Problem::new("own_way", message).about("allow").into())
        }
        _ => Ok((ways, unclear)),
    }
}

/// The device is cut off.
struct Isolate {
    agent: Arc<Shared>,
    isolating: Isolating,
    /// What ought to be known of it, once it is there.
    learned: Arc<Mutex<Vec<String>>>,
}

impl Act for Isolate {
    fn step(&self) -> Step {
        Step::Isolate(Isolated {
            token: self.isolating.token.clone(),
            seconds: self.isolating.time.as_secs(),
            allow: self.isolating.allow.iter().map(ToString::to_string).collect(),
            keep: self.isolating.keep.iter().map(ToString::to_string).collect(),
        })
    }

    fn run(&mut self, on: &Acting<'_>) -> Outcome {
        let done = self.agent.platform.isolate(&self.isolating, on.stop);
        match done {
            Ok(notes) => {
                let mut found = found(&self.isolating, Timestamp::now());
                if let (false, Some(found)) = (notes.is_empty(), found.as_object_mut()) {
                    found.insert("notes".to_owned(), json!(notes));
                }
                self.learned.lock().unwrap_or_else(PoisonError::into_inner).extend(notes);
                Outcome::done(found)
            }
            Err(problem) => Outcome::not_done(problem.message),
        }
    }
}

fn found(isolating: &Isolating, now: Timestamp) -> Value {
    json!({
        "isolated": true, "until": end(now, isolating.time).to_string(),
        "allow": isolating.allow.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "kept": isolating.keep.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

/// The isolation is ended.
struct Release {
    agent: Arc<Shared>,
    token: String,
}

impl Act for Release {
    fn step(&self) -> Step {
        Step::Release(Isolated { token: self.token.clone(), seconds: 0, allow: Vec::new(), keep: Vec::new() })
    }

    fn run(&mut self, _on: &Acting<'_>) -> Outcome {
        match self.agent.platform.release() {
            Ok(_) => Outcome::done(told(None, Timestamp::now())),
            Err(problem) => Outcome::not_done(problem.message),
        }
    }
}

/// What became of an isolation, or its end, that was under way when the agent died.
#[must_use]
pub fn look(platform: &dyn Platform, step: &Isolated, begins: bool) -> Outcome {
    match platform.isolation() {
        Err(problem) => Outcome::not_done(format!("how it stands cannot be told: {}", problem.message)),
        Ok(now) => {
            let now = now.filter(|now| now.token == step.token && now.left.is_some());
            match (now, begins) {
                (Some(now), true) => {
                    Outcome { state: StepState::Done, reason: None, found: told(Some(&now), Timestamp::now()) }
                }
                (None, false) => Outcome::done(told(None, Timestamp::now())),
                (Some(_), false) => Outcome::not_done("the device is still isolated"),
                (None, true) => Outcome::not_done("the device is not isolated by it"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_isolation_takes_the_place_of_is_told() {
        let by = |minutes: u64, allow: &[&str]| Isolating {
            token: "new".into(),
            time: Duration::from_secs(minutes * 60),
            allow: allow.iter().filter_map(|text| Network::parse(text)).collect(),
            keep: Vec::new(),
        };
        let now = Isolation { token: "old".into(), left: Some(Duration::from_hours(1)) };
        assert_eq!(replaced(None, &[], &by(1, &[])).1, Vec::<String>::new());
        let over = Isolation { left: None, ..now.clone() };
        assert_eq!(replaced(Some(&over), &[], &by(1, &[])).1, Vec::<String>::new());
        let (before, notes) = replaced(Some(&now), &[], &by(1, &[]));
        assert_eq!(before["isolated"], true);
        assert!(notes[0].starts_with("it is cut short: the isolation that was there"), "{notes:?}");
        assert_eq!(notes[1..], ["what that one kept reachable is not known here"]);
        assert!(replaced(Some(&now), &[], &by(61, &[])).1[0].starts_with("it takes the place of an isolation until "));
    }

    #[test]
    fn an_end_is_told_in_whole_seconds() {
        let now: Timestamp = "2026-01-01T00:00:00.9Z".parse().unwrap();
        assert_eq!(end(now, Duration::from_millis(60_050)).to_string(), "2026-01-01T00:01:01Z");
        assert_eq!(end(now, Duration::MAX), Timestamp::MAX);
        let over = Isolation { token: "t".into(), left: None };
        assert_eq!(told(Some(&over), now), json!({ "isolated": false, "until": null }));
    }
}
