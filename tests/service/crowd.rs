//! Many shells of several analysts at once, with the limits as they are shipped: nothing is lost, what is too much is refused,
//! and nothing stays behind.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lrsh::protocol::{Body, NewSession, SessionEventKind, SessionId, Status};
use lrsh::service::Limits;
use lrsh::shell::client::{Client, CommandEvents, SessionEvents};
use serde_json::json;

use crate::kit::fleet::{ALL, Fleet, command};
use crate::kit::need::rounds;
use crate::kit::talking::until;

const LINES: [&str; 5] = ["dir /", "findfile * /", "fileinfo /file-7", "cat /file-3", "findfile nothing /"];

/// What one shell has seen.
#[derive(Default)]
struct Seen {
    session: Option<SessionId>,
    /// The numbers of its own commands.
    own: Vec<u64>,
    /// The numbers of the session's events and the commands they told of.
    told: Vec<u64>,
}

/// A shell that sends commands until it is told to stop, and holds every answer to be whole.
async fn shell(client: Client, device: usize, is_over: Arc<AtomicBool>) -> Seen {
    let wanted = NewSession { device: Some(format!("device-{device}")), comment: None };
    let session = client.open_session(&wanted).await.unwrap().session_id;
    let mut events = SessionEvents::open(&client, &session).await.unwrap();
    let watch = tokio::spawn(async move {
        let (mut told, mut before) = (Vec::new(), None);
        while let Ok(event) = events.next().await {
            assert!(before.is_none_or(|before| event.n == before + 1), "an event of the session is lost before {}", event.n);
            before = Some(event.n);
            match event.what {
                SessionEventKind::Command { number, .. } => told.push(number),
                SessionEventKind::Closed { .. } => break,
                _ => {}
            }
        }
        told
    });
    let mut seen = Seen { session: Some(session.clone()), ..Seen::default() };
    for at in device.. {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let mut answer = CommandEvents::post(&client, &session, command(LINES[at % LINES.len()])).await.unwrap();
        let mut n = 0;
        let mut end = None;
        while let Some(event) = answer.next().await.unwrap() {
            n += 1;
            assert_eq!(event.n, n, "an event of a command is lost");
            match event.body {
                Body::Created { number } => seen.own.push(number),
                Body::Completed(completed) => end = Some(completed.status),
                _ => {}
            }
        }
        assert_eq!(end, Some(Status::Completed), "{}", LINES[at % LINES.len()]);
    }
    client.leave(&session).await.unwrap();
    watch.abort();
    seen.told = watch.await.unwrap_or_default();
    seen
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn resident_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn twenty_four_shells_of_three_analysts_lose_nothing() {
    let time = if rounds() > 10 { Duration::from_mins(1) } else { Duration::from_secs(3) };
    let fleet = Fleet::new(30, Limits::default());
    let names = ["ana", "ben", "cy"];
    let sockets: Vec<PathBuf> = names.iter().map(|name| fleet.analyst(name, &ALL)).collect();
    // The first crowds warm up; what the last one leaves behind is measured.
    let mut before = None;
    for (time, is_last) in [(time / 3, false), (time, false), (time / 3, true)] {
        let is_over = Arc::new(AtomicBool::new(false));
        let shells: Vec<_> = (0..24)
            .map(|shell_number| {
                let device = shell_number % 8;
                let client = fleet.shell(sockets[device % 3].clone());
                fleet.runtime.spawn(shell(client, device, Arc::clone(&is_over)))
            })
            .collect();
        let begun = Instant::now();
        until("eight sessions are open", || {
            let (_, sessions) = fleet.call(&sockets[0], "GET", "/sessions", None);
            sessions.as_array().unwrap().iter().filter(|told| told["state"] == "open").count() == 8
        });
        refuse_too_many(&fleet, &sockets);
        std::thread::sleep(time.saturating_sub(begun.elapsed()));
        is_over.store(true, Ordering::Relaxed);
        let seen: Vec<Seen> = shells.into_iter().map(|shell| fleet.runtime.block_on(shell).unwrap()).collect();
        check_log(&fleet, &sockets[0], &seen);
        until("the connections are closed", || before.is_none_or(|(open, _)| descriptors() <= open));
        if let (Some((_, resident)), true) = (before, is_last) {
            let grown = resident_kb().saturating_sub(resident);
            assert!(std::env::var_os("NEXTEST").is_none() || grown < 8 * 1024, "{grown} KiB more than after the crowd before");
        }
        // Under one process for all tests others open and close descriptors too.
        before = std::env::var_os("NEXTEST").map(|_| (descriptors(), resident_kb()));
    }
}

/// The eleventh session of one analyst, and the twenty-sixth in all. What is opened here is closed again.
fn refuse_too_many(fleet: &Fleet, sockets: &[PathBuf]) {
    let open = |who: usize, device: usize| {
        fleet.call(&sockets[who], "POST", "/sessions", Some(&json!({"device": format!("device-{device}")})))
    };
    let mut opened = Vec::new();
    let mut free = 8..30;
    // ana and ben hold three each, cy two.
    for (who, more) in [(0, 7), (1, 7), (2, 3)] {
        for _ in 0..more {
            let (status, session) = open(who, free.next().unwrap());
            assert_eq!(status, 200, "{session}");
            opened.push((who, session["session_id"].as_str().unwrap().to_owned()));
        }
        let (status, refused) = open(who, 29);
        let message = refused["error"]["message"].as_str().unwrap();
        let says = if who < 2 {
            "holds 10 sessions, and 10 is the limit of one analyst"
        } else {
            "25 is the limit in all: ana 10, ben 10, cy 5"
        };
        assert_eq!((status, &refused["error"]["code"]), (403, &json!("limit")));
        assert!(message.contains(says), "{message}");
    }
    for (who, session) in opened {
        assert_eq!(fleet.call(&sockets[who], "POST", &format!("/sessions/{session}/close"), None).0, 200);
    }
}

/// Every command that a shell sent is in the log once, with its end, and the numbers have no gap.
fn check_log(fleet: &Fleet, socket: &Path, seen: &[Seen]) {
    let mut sessions: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for seen in seen {
        let session = seen.session.as_ref().unwrap().to_string();
        sessions.entry(session).or_default().extend(&seen.own);
    }
    assert_eq!(sessions.len(), 8);
    for (session, mut sent) in sessions {
        sent.sort_unstable();
        let (_, log) = fleet.call(socket, "GET", &format!("/sessions/{session}/commands"), None);
        let log = log.as_array().unwrap();
        let logged: Vec<u64> = log.iter().map(|record| record["number"].as_u64().unwrap()).collect();
        assert_eq!(logged, (1..=logged.len() as u64).collect::<Vec<_>>());
        assert_eq!(logged[1..], sent, "what was sent is what is logged");
        assert!(log.iter().all(|record| record["status"] == "completed" && record["completed"].is_string()), "{session}");
        let (_, told) = fleet.call(socket, "GET", &format!("/sessions/{session}"), None);
        assert_eq!(told["state"], "closed", "the last shell that left has closed it: {told}");
    }
}
