//! Who may do what: every route and every command under every role, the switches, and who speaks an older protocol.

use lrsh::grammar::{Role, RunsOn, read, table};
use lrsh::protocol::{API, PROTOCOL_HEADER, PROTOCOL_VERSION, PlatformName};
use lrsh::service::Limits;
use serde_json::{Value, json};

use crate::kit::fleet::{ALL, Fleet};

const LOOKING: &[Role] = &[Role::Basic, Role::Advanced];

/// Every route, and the roles of which its caller needs one; none: whoever is known.
const ROUTES: [(&str, &str, &[Role]); 25] = [
    ("GET", "/analyst", &[]),
    ("GET", "/devices", LOOKING),
    ("GET", "/devices/{id}", LOOKING),
    ("GET", "/sessions", LOOKING),
    ("POST", "/sessions", LOOKING),
    ("GET", "/sessions/{sid}", LOOKING),
    ("POST", "/sessions/{sid}/close", LOOKING),
    ("GET", "/sessions/{sid}/definitions", LOOKING),
    ("GET", "/sessions/{sid}/events", LOOKING),
    ("GET", "/sessions/{sid}/peek", LOOKING),
    ("GET", "/sessions/{sid}/commands", LOOKING),
    ("POST", "/sessions/{sid}/commands", LOOKING),
    ("GET", "/sessions/{sid}/commands/{cid}", LOOKING),
    ("GET", "/sessions/{sid}/commands/{cid}/events", LOOKING),
    ("POST", "/sessions/{sid}/commands/{cid}/cancel", LOOKING),
    ("GET", "/sessions/{sid}/commands/{cid}/file", LOOKING),
    ("GET", "/commands", LOOKING),
    ("GET", "/commands/brief", LOOKING),
    ("GET", "/commands/{cid}", LOOKING),
    ("GET", "/library", &[Role::Advanced]),
    ("GET", "/library/{name}", &[Role::Advanced]),
    ("PUT", "/library/{name}", &[Role::Library]),
    ("DELETE", "/library/{name}", &[Role::Library]),
    ("GET", "/settings", &[Role::Basic, Role::Advanced, Role::Settings]),
    ("PATCH", "/settings", &[Role::Settings]),
];

fn filled(path: &str, session: &str) -> String {
    path.replace("{sid}", session).replace("{cid}", "1").replace("{id}", "device-0").replace("{name}", "some")
}

#[test]
fn the_table_of_roles_has_every_route_that_is_described() {
    let described: Value = serde_json::from_str(include_str!("openapi.json")).unwrap();
    let mut routes = std::collections::BTreeSet::new();
    for (path, calls) in described["paths"].as_object().unwrap() {
        for method in calls.as_object().unwrap().keys().filter(|key| *key != "parameters") {
            routes.insert((method.to_uppercase(), path.strip_prefix(API).unwrap().to_owned()));
        }
    }
    let held = ROUTES.iter().map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned()));
    assert_eq!(held.collect::<std::collections::BTreeSet<_>>(), routes);
}

fn body(method: &str, path: &str) -> Option<Value> {
    match (method, path) {
        ("POST", "/sessions") => Some(json!({"device": "device-0"})),
        ("POST", "/sessions/{sid}/commands") => Some(serde_json::to_value(crate::kit::fleet::command("dir")).unwrap()),
        ("PATCH", _) => Some(json!({"unsigned_scripts": true})),
        _ => None,
    }
}

#[test]
fn every_route_asks_for_its_role() {
    let fleet = Fleet::new(1, Limits::default());
    let owner = fleet.analyst("owner", &ALL);
    let session = fleet.open(&owner, 0);
    let mut callers: Vec<(&str, &[Role])> = ALL.iter().map(|role| (role.as_str(), std::slice::from_ref(role))).collect();
    callers.push(("nothing", &[]));
    for (name, roles) in callers {
        let socket = fleet.analyst(name, roles);
        for (method, path, wanted) in ROUTES {
            let (status, answer) = fleet.call(&socket, method, &filled(path, &session), body(method, path).as_ref());
            let is_refused = status == 403 && answer["error"]["code"] == "role";
            let may = wanted.is_empty() || roles.iter().any(|role| wanted.contains(role));
            assert_eq!(is_refused, !may, "{name}: {method} {path}: {status} {answer}");
            if !may {
                let message = answer["error"]["message"].as_str().unwrap();
                assert!(message.contains(&format!("which {name} does not have")), "{message}");
            }
        }
    }
    let stranger = fleet.socket("stranger", None);
    for (method, path, _) in ROUTES {
        let (status, answer) = fleet.call(&stranger, method, &filled(path, &session), body(method, path).as_ref());
        assert_eq!((status, &answer["error"]["code"]), (403, &json!("role")), "{method} {path}");
    }
}

#[test]
fn every_command_asks_for_its_role_and_definitions_hold_what_may_be_run() {
    let fleet = Fleet::new(ALL.len(), Limits::default());
    for (device, role) in ALL.into_iter().enumerate() {
        // Without `basic` there is no session; the role is what is added to it.
        let socket = fleet.analyst(role.as_str(), &[Role::Basic, role]);
        let session = fleet.open(&socket, device);
        let may = |wanted: Role| wanted == Role::Basic || wanted == role;
        let (_, definitions) = fleet.call(&socket, "GET", &format!("/sessions/{session}/definitions"), None);
        for row in table().rows() {
            let told = definitions.as_array().unwrap().iter().find(|told| told["command_definition_id"] == row.name.as_str());
            let is_had = row.platforms.contains(&PlatformName::Linux) && row.roles().any(may);
            assert_eq!(told.is_some(), is_had, "{}: {}", role.as_str(), row.name);
            for form in told.iter().flat_map(|told| told["form"].as_array().into_iter().flatten()) {
                let form = row.forms.iter().find(|known| known.when == form["when"].as_str().unwrap()).unwrap();
                assert!(may(form.role.unwrap_or(row.role)), "{}: {} {}", role.as_str(), row.name, form.when);
            }
            let lines = row.examples.iter().map(|example| example.line.as_str());
            for line in lines.filter(|line| !matches!(row.name.as_str(), "disconnect" | "connect") && !line.contains('|')) {
                let Some(invocation) = read(line, None).invocation else { continue };
                if row.since.is_some() || row.runs_on == RunsOn::Shell || may(invocation.role()) {
                    continue;
                }
                let (status, answer, _) = fleet.post(&socket, &session, line);
                assert_eq!((status, &answer["error"]["code"]), (403, &json!("role")), "{}: {line}: {answer}", role.as_str());
                let message = answer["error"]["message"].as_str().unwrap();
                assert!(message.contains(&row.name) && message.contains(invocation.role().as_str()), "{message}");
            }
        }
    }
}

#[test]
fn switches_are_changed_by_verb_and_route_and_refuse_sessions() {
    let fleet = Fleet::with(2, Limits::default(), |hello| hello.server = hello.name == "device-1");
    let (ana, ben) = (fleet.analyst("ana", &ALL), fleet.analyst("ben", &[Role::Basic]));
    let session = fleet.open(&ana, 0);
    let (status, on) = fleet.call(&ben, "GET", "/settings", None);
    assert_eq!((status, on), (200, json!({"live_response": true, "live_response_servers": true, "unsigned_scripts": true})));

    let (_, _, id) = fleet.post(&ana, &session, "settings live_response_servers off");
    let events = fleet.events(&ana, &session, id);
    assert_eq!(
        events.iter().find(|event| event["kind"] == "rows").unwrap()["rows"],
        json!([{"name": "live_response_servers", "value": "off"}])
    );
    let (status, refused) = fleet.call(&ana, "POST", "/sessions", Some(&json!({"device": "device-1"})));
    assert_eq!((status, &refused["error"]["target"]), (403, &json!("live_response_servers")), "{refused}");

    let (status, changed) =
        fleet.call(&ana, "PATCH", "/settings", Some(&json!({"live_response": false, "live_response_servers": true})));
    assert_eq!((status, &changed["live_response"], &changed["live_response_servers"]), (200, &json!(false), &json!(true)));
    for (socket, device) in [(&ana, "device-1"), (&ben, "device-1"), (&ana, "device-0")] {
        let (status, refused) = fleet.call(socket, "POST", "/sessions", Some(&json!({"device": device})));
        assert_eq!((status, &refused["error"]["target"]), (403, &json!("live_response")), "{refused}");
    }
    let (status, unknown) = fleet.call(&ana, "PATCH", "/settings", Some(&json!({"live_respond": false})));
    assert_eq!((status, &unknown["error"]["code"]), (400, &json!("bad_body")), "{unknown}");
    let (status, _) = fleet.call(&ana, "PATCH", "/settings", Some(&json!({"live_response": true})));
    assert_eq!(status, 200);
    fleet.open(&ben, 1);
}

#[test]
fn a_value_without_its_switch_is_refused() {
    let reading = read("settings -value on", None);
    assert_eq!(reading.error().map(|error| error.kind.as_str()), Some("missing_parameter"));
    let fleet = Fleet::new(1, Limits::default());
    let ana = fleet.analyst("ana", &ALL);
    let session = fleet.open(&ana, 0);
    let (status, answer, _) = fleet.post(&ana, &session, "settings -value off");
    assert_eq!((status, &answer["error"]["code"]), (400, &json!("missing_parameter")), "{answer}");
}

#[test]
fn who_speaks_an_older_protocol_is_refused_with_both_versions() {
    let older = PROTOCOL_VERSION - 1;
    let fleet = Fleet::with(2, Limits::default(), |hello| {
        if hello.name == "device-1" {
            hello.protocol = older;
        }
    });
    let ana = fleet.analyst("ana", &ALL);
    let both = |answer: &Value| {
        let message = answer["error"]["message"].as_str().unwrap().to_owned();
        assert_eq!(answer["error"]["code"], "protocol", "{message}");
        assert!(message.contains(&format!("protocol {older}, the service {PROTOCOL_VERSION}")), "{message}");
    };
    let (status, answer) = fleet.call(&ana, "POST", "/sessions", Some(&json!({"device": "device-1"})));
    assert_eq!(status, 426);
    both(&answer);
    for (spoken, status) in [(older, 426), (PROTOCOL_VERSION, 200), (PROTOCOL_VERSION + 1, 200)] {
        let (told, answer) = fleet.call_with(&ana, &[(PROTOCOL_HEADER, &spoken.to_string())], "GET", "/sessions", None);
        assert_eq!(told, status, "{spoken}: {answer}");
        if status == 426 {
            both(&answer);
        }
    }
}
