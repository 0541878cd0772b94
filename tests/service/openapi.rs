//! The OpenAPI document: committed, served as committed, and true of the routes.

use std::path::Path;

use serde_json::Value;

use crate::kit::home::Home;
use crate::kit::wire;

#[test]
fn the_committed_document_is_the_one_that_is_served() {
    let made = lrsh::service::openapi().unwrap();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/service/openapi.json");
    if std::env::var_os("LRSH_REWRITE").is_some() {
        std::fs::write(&file, &made).unwrap();
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(committed == made, "tests/service/openapi.json is not up to date: LRSH_REWRITE=1 cargo test writes it");
    let home = Home::new();
    let (socket, _held) = home.hold();
    let served = wire::call(&socket, "GET", "/openapi.json", &[], b"");
    assert_eq!((served.status, served.header("content-type")), (200, Some("application/json")));
    assert_eq!(served.body(), committed.as_bytes());
}

#[test]
fn every_call_says_what_it_answers_and_every_schema_that_is_named_is_there() {
    let document: Value = serde_json::from_str(&lrsh::service::openapi().unwrap()).unwrap();
    let mut ids = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        assert!(path.starts_with("/api/v1/"), "{path}");
        for (method, operation) in item.as_object().unwrap() {
            let what = format!("{method} {path}");
            ids.push(operation["operationId"].as_str().unwrap().to_owned());
            assert!(operation["summary"].as_str().is_some_and(|summary| !summary.is_empty()), "{what}");
            for (status, response) in operation["responses"].as_object().unwrap() {
                assert!(response["description"].as_str().is_some_and(|text| !text.is_empty()), "{what} {status}");
                assert_eq!(response["content"].is_object(), status != "204", "{what} {status}");
                assert!(response["headers"]["x-request-id"].is_object(), "{what} {status}");
            }
            assert!(["200", "204"].iter().any(|good| operation["responses"][good].is_object()), "{what}");
            for needed in ["403", "426", "500"] {
                assert!(operation["responses"][needed].is_object(), "{what} {needed}");
            }
        }
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count, "operation ids are unique");
    let mut named = Vec::new();
    references(&document, &mut named);
    assert!(!named.is_empty());
    for name in named {
        assert!(document.pointer(name.trim_start_matches('#')).is_some(), "{name}");
    }
}

fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
            map.values().for_each(|value| references(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}
