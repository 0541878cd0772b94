//! The limits of sessions and commands: reached, refused with name and holder, and free again.

use std::path::Path;
use std::sync::atomic::Ordering;

use lrsh::protocol::{CommandId, SessionEventKind};
use lrsh::service::Limits;
use lrsh::shell::client::SessionEvents;
use serde_json::{Value, json};

use crate::kit::fleet::{ALL, Fleet, command};
use crate::kit::talking::until;

fn code(answer: &Value) -> &str {
    answer["error"]["code"].as_str().unwrap_or_default()
}

fn message(answer: &Value) -> &str {
    answer["error"]["message"].as_str().unwrap_or_default()
}

fn status(fleet: &Fleet, socket: &Path, session: &str, id: CommandId) -> String {
    fleet.record(socket, session, id)["status"].as_str().unwrap().to_owned()
}

#[test]
fn sessions_are_limited_per_device_per_analyst_and_in_all() {
    let limits = Limits { sessions: 4, sessions_per_analyst: 3, ..Limits::default() };
    let fleet = Fleet::new(6, limits);
    let (ana, ben) = (fleet.analyst("ana", &ALL), fleet.analyst("ben", &ALL));
    let first = fleet.open(&ana, 0);
    assert_eq!(fleet.open(&ana, 0), first, "the same analyst attaches");
    let (status, answer) = fleet.call(&ben, "POST", "/sessions", Some(&json!({"device": "device-0"})));
    assert_eq!((status, code(&answer)), (409, "held"));
    assert!(message(&answer).contains("ana since 20"), "{answer}");
    let (status, answer) = fleet.call(&ben, "GET", &format!("/sessions/{first}/definitions"), None);
    assert_eq!((status, code(&answer)), (403, "held"));
    assert!(message(&answer).contains("ana since 20"), "{answer}");

    fleet.open(&ana, 1);
    fleet.open(&ana, 2);
    let (status, answer) = fleet.call(&ana, "POST", "/sessions", Some(&json!({"device": "device-3"})));
    assert_eq!((status, code(&answer), &answer["error"]["target"]), (403, "limit", &json!("sessions_per_analyst")));
    assert!(message(&answer).contains("ana holds 3 sessions, and 3 is the limit of one analyst"), "{answer}");

    fleet.open(&ben, 3);
    let (status, answer) = fleet.call(&ben, "POST", "/sessions", Some(&json!({"device": "device-4"})));
    assert_eq!((status, code(&answer), &answer["error"]["target"]), (403, "limit", &json!("sessions")));
    assert!(message(&answer).contains("4 sessions are open, and 4 is the limit in all: ana 3, ben 1"), "{answer}");

    let (status, _) = fleet.call(&ana, "POST", &format!("/sessions/{first}/close"), None);
    assert_eq!(status, 200);
    fleet.open(&ben, 0);
    let (status, answer) = fleet.call(&ana, "GET", &format!("/sessions/{first}/definitions"), None);
    assert_eq!((status, code(&answer)), (410, "session_closed"));
    assert!(message(&answer).contains("was ended by ana (disconnect)"), "{answer}");
    let (_, told) = fleet.call(&ana, "GET", &format!("/sessions/{first}"), None);
    assert_eq!((&told["state"], &told["closed_by"]), (&json!("closed"), &json!("ana (disconnect)")));
}

#[test]
fn an_idle_session_ends_but_never_while_a_command_runs_or_waits() {
    let limits = Limits { idle_seconds: 1, heavy_per_device: 1, ..Limits::default() };
    let fleet = Fleet::new(2, limits);
    let ana = fleet.analyst("ana", &ALL);
    let (idle, busy) = (fleet.open(&ana, 0), fleet.open(&ana, 1));
    let (_, _, running) = fleet.post(&ana, &busy, "findfile x /held");
    let (_, _, waiting) = fleet.post(&ana, &busy, "findfile y /held");
    let told = |session: &str| fleet.call(&ana, "GET", &format!("/sessions/{session}"), None).1;
    until("the idle session ends", || told(&idle)["state"] == "closed");
    assert_eq!(told(&idle)["closed_by"], "the service (idle)");
    // The other is as old, and has a command that runs and one that waits.
    let open = told(&busy);
    assert_eq!((&open["state"], &open["idle_left_ms"]), (&json!("open"), &Value::Null));
    assert_eq!(status(&fleet, &ana, &busy, waiting), "pending");
    for id in [running, waiting] {
        let (status, _) = fleet.call(&ana, "POST", &format!("/sessions/{busy}/commands/{id}/cancel"), None);
        assert_eq!(status, 200);
    }
    until("it ends once they have", || told(&busy)["state"] == "closed");
}

#[test]
fn a_command_ends_at_its_limit_on_the_device_too() {
    let limits = Limits { command_seconds: 1, long_command_seconds: 2, ..Limits::default() };
    let fleet = Fleet::new(1, limits);
    let ana = fleet.analyst("ana", &ALL);
    let session = fleet.open(&ana, 0);
    // Nobody asks for the file's bytes: the agent itself waits, longer than both limits.
    for (line, seconds) in [("dir /held", "1"), ("getfile /file-1", "2")] {
        let (_, _, id) = fleet.post(&ana, &session, line);
        let events = fleet.events(&ana, &session, id);
        let end = events.last().unwrap();
        assert_eq!((&end["kind"], &end["status"]), (&json!("completed"), &json!("expired")), "{line}");
        let receipt = events.iter().find(|event| event["kind"] == "receipt").unwrap();
        assert_eq!((&receipt["confirmed"], &receipt["by"]), (&json!(true), &json!("the time limit")), "{line}");
        assert_eq!(status(&fleet, &ana, &session, id), "expired", "{line}, {seconds} s");
    }
    assert_eq!(fleet.devices[0].held(), 0);
}

#[test]
fn heavy_and_light_commands_wait_in_lanes_of_their_own_and_are_told_their_place() {
    let limits = Limits { heavy_per_device: 2, light_per_device: 3, ..Limits::default() };
    let fleet = Fleet::new(1, limits);
    let ana = fleet.analyst("ana", &ALL);
    let session = fleet.open(&ana, 0);
    let lane =
        |line: &str, count: usize| -> Vec<CommandId> { (0..count).map(|_| fleet.post(&ana, &session, line).2).collect() };
    let (heavy, light) = (lane("findfile x /held", 5), lane("dir /held", 4));
    until("five are with the device", || fleet.devices[0].held() == 5);
    let places =
        |ids: &[CommandId]| -> Vec<Value> { ids.iter().map(|id| fleet.record(&ana, &session, *id)["place"].clone()).collect() };
    let none = Value::Null;
    assert_eq!(places(&heavy), [none.clone(), none.clone(), json!(1), json!(2), json!(3)]);
    assert_eq!(places(&light), [none.clone(), none.clone(), none.clone(), json!(1)]);
    let cancel = |id: CommandId| {
        let (status, _) = fleet.call(&ana, "POST", &format!("/sessions/{session}/commands/{id}/cancel"), None);
        assert_eq!(status, 200);
        fleet.events(&ana, &session, id)
    };
    // One that waits leaves its place; one that runs lets the next one in.
    let events = cancel(heavy[2]);
    let kinds: Vec<&str> = events.iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["created", "queued", "receipt", "completed"]);
    assert_eq!(events[2]["not_done"], json!(["it had not been started"]));
    assert_eq!(places(&heavy[3..]), [json!(1), json!(2)]);
    cancel(heavy[0]);
    until("the next one begins", || places(&heavy[3..]) == [none.clone(), json!(1)]);
    let events = cancel(heavy[4]);
    let told: Vec<&Value> = events.iter().filter(|event| event["kind"] == "queued").map(|event| &event["place"]).collect();
    assert_eq!(told, [3, 2, 1]);
    assert_eq!(places(&light)[3], 1, "the other lane has not moved");
}

#[test]
fn cancelling_one_command_touches_no_other_and_its_receipt_says_who_and_what() {
    let fleet = Fleet::new(2, Limits::default());
    let (ana, ben) = (fleet.analyst("ana", &ALL), fleet.analyst("ben", &ALL));
    let (session, other) = (fleet.open(&ana, 0), fleet.open(&ben, 1));
    let post = |socket: &Path, session: &str| fleet.post(socket, session, "dir /held").2;
    let (mine, beside, theirs) = (post(&ana, &session), post(&ana, &session), post(&ben, &other));
    until("all three run", || fleet.devices[0].held() == 2 && fleet.devices[1].held() == 1);
    // Neither through another's session nor through one's own can somebody else's command be reached.
    let (status_there, _) = fleet.call(&ana, "POST", &format!("/sessions/{other}/commands/{theirs}/cancel"), None);
    let (status_here, _) = fleet.call(&ana, "POST", &format!("/sessions/{session}/commands/{theirs}/cancel"), None);
    assert_eq!((status_there, status_here), (403, 404));

    let (_, asked) = fleet.call(&ana, "POST", &format!("/sessions/{session}/commands/{mine}/cancel"), None);
    assert_eq!(asked["asked"], true);
    let events = fleet.events(&ana, &session, mine);
    let kinds: Vec<&str> = events.iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["created", "started", "rows", "receipt", "completed"]);
    let receipt = &events[3];
    assert_eq!((&receipt["confirmed"], &receipt["by"]), (&json!(true), &json!("ana")));
    assert_eq!((&receipt["done"], &receipt["not_done"]), (&json!(["1 row"]), &json!(["the rest"])));
    let record = fleet.record(&ana, &session, mine);
    assert_eq!((&record["status"], &record["cancelled_by"]), (&json!("cancelled"), &json!("ana")));
    let (_, again) = fleet.call(&ana, "POST", &format!("/sessions/{session}/commands/{mine}/cancel"), None);
    assert_eq!(again["asked"], false, "it has ended");
    assert_eq!(status(&fleet, &ana, &session, beside), "running");
    assert_eq!(status(&fleet, &ben, &other, theirs), "running");

    // As a command of its own, by number and by the start of the id.
    let number = fleet.record(&ana, &session, beside)["number"].clone();
    let (_, _, verb) = fleet.post(&ana, &session, &format!("cancel {number}"));
    assert_eq!(fleet.events(&ana, &session, verb).last().unwrap()["status"], "completed");
    assert_eq!(status(&fleet, &ana, &session, beside), "cancelled");
    let (_, _, verb) = fleet.post(&ana, &session, &format!("cancel {number}"));
    let end = fleet.events(&ana, &session, verb).pop().unwrap();
    assert_eq!((&end["status"], &end["errors"][0]["code"]), (&json!("failed"), &json!("ended")));
    assert_eq!(status(&fleet, &ben, &other, theirs), "running");
}

#[test]
fn the_end_of_a_session_ends_its_commands_and_is_told_to_its_shells() {
    let fleet = Fleet::new(1, Limits::default());
    let ana = fleet.analyst("ana", &ALL);
    let session = fleet.open(&ana, 0);
    let (_, _, id) = fleet.post(&ana, &session, "dir /held");
    let close =
        |shell: &str, body: Value| fleet.call_as(&ana, Some(shell), "POST", &format!("/sessions/{session}/close"), Some(&body));
    let (_, answer) = fleet.call_as(&ana, Some("one"), "POST", "/sessions", Some(&json!({})));
    assert_eq!(answer["attached"], true);
    let (status_one, answer) = close("two", json!({}));
    assert_eq!((status_one, code(&answer)), (409, "attached"), "{answer}");
    let (status_two, answer) = close("one", json!({}));
    assert_eq!((status_two, code(&answer)), (409, "running"), "{answer}");
    // Who leaves in order ends no command of a shell that was lost.
    let (_, answer) = close("one", json!({"reason": "exit"}));
    assert_eq!(answer, json!({"state": "open", "shells": 0, "commands": 1}));
    assert_eq!(status(&fleet, &ana, &session, id), "running");
    let client = fleet.shell(ana.clone());
    let sid = session.parse().unwrap();
    let mut events = fleet.runtime.block_on(SessionEvents::open(&client, &sid)).unwrap();
    let (_, answer) = close("one", json!({"force": true}));
    assert_eq!(answer["state"], "closed");
    assert_eq!(fleet.events(&ana, &session, id).last().unwrap()["status"], "cancelled");
    let end = fleet.runtime.block_on(async {
        loop {
            let event = events.next().await.unwrap();
            if event.what.is_end() {
                return event.what;
            }
        }
    });
    assert_eq!(end, SessionEventKind::Closed { by: "ana".into(), reason: "disconnect".into() });
}

#[test]
fn a_command_posted_twice_at_once_runs_once() {
    let fleet = Fleet::new(1, Limits::default());
    let ana = fleet.analyst("ana", &ALL);
    let session = fleet.open(&ana, 0);
    let before = fleet.devices[0].started.load(Ordering::SeqCst);
    for _ in 0..20 {
        let command = serde_json::to_value(command("dir /")).unwrap();
        let answers = fleet.call_at_once(&ana, &format!("/sessions/{session}/commands"), &command, 4);
        assert!(answers.iter().all(|answer| *answer == answers[0] && answer.contains("\"completed\"")), "{answers:?}");
    }
    assert_eq!(fleet.devices[0].started.load(Ordering::SeqCst) - before, 20);
}

#[test]
fn a_session_outlives_its_service_and_who_leaves_first_does_not_end_it_for_the_others() {
    let limits = Limits { idle_seconds: 60, ..Limits::default() };
    let mut fleet = Fleet::new(2, limits.clone());
    let ana = fleet.analyst("ana", &ALL);
    let (session, other) = (fleet.open(&ana, 0), fleet.open(&ana, 1));
    let (_, _, id) = fleet.post(&ana, &session, "dir /held");
    let (_, _, done) = fleet.post(&ana, &session, "dir /");
    fleet.events(&ana, &session, done);
    until("the row of the other is there", || fleet.record(&ana, &session, id)["last_event"].as_u64() >= Some(3));

    fleet.start_again(limits);
    let ana = fleet.analyst("ana", &ALL);
    let events = fleet.events(&ana, &session, id);
    let kinds: Vec<&str> = events.iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["created", "started", "rows", "completed"], "what came so far is there");
    let record = fleet.record(&ana, &session, id);
    assert_eq!((&record["status"], &record["errors"][0]["code"]), (&json!("interrupted"), &json!("interrupted")));
    assert!(record["started"].is_string(), "{record}");
    assert_eq!(status(&fleet, &ana, &session, done), "completed");
    let (_, _, next) = fleet.post(&ana, &session, "dir /");
    assert_eq!(fleet.record(&ana, &session, next)["number"], 4);

    // Two shells were attached; one is quicker to come back, and leaves.
    let body = json!({"reason": "exit"});
    let leave =
        |session: &str| fleet.call_as(&ana, Some("quick"), "POST", &format!("/sessions/{session}/close"), Some(&body)).1;
    assert_eq!(leave(&session)["state"], "open");
    let (_, attached) = fleet.call_as(&ana, Some("slow"), "POST", "/sessions", Some(&json!({"device": "device-0"})));
    assert_eq!((&attached["session_id"], &attached["attached"]), (&json!(session), &json!(true)));
    // By a word it ends all the same.
    let (_, closed) = fleet.call_as(&ana, Some("quick"), "POST", &format!("/sessions/{other}/close"), Some(&json!({})));
    assert_eq!(closed["state"], "closed");
}
