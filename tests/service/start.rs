//! Starting the background process: what a home that cannot be used is told, and that it works again afterwards.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

fn lrsh(home: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lrsh")).args(arguments).env("LRSH_HOME", home).output().unwrap()
}

/// Starts the home's service; the process ends by itself.
fn start(home: &Path) -> Result<String, String> {
    let output = lrsh(home, &["paths", "--start", "socket"]);
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap().trim().to_owned())
    } else {
        Err(String::from_utf8(output.stderr).unwrap())
    }
}

#[test]
fn a_damaged_store_or_policy_is_said_and_it_starts_again_afterwards() {
    for (file, says) in [("store.db", "the store"), ("service.toml", "service.toml")] {
        let home = tempfile::tempdir().unwrap();
        let service = home.path().join("service");
        std::fs::create_dir(&service).unwrap();
        std::fs::write(service.join(file), "this is neither a database nor = [ toml").unwrap();
        let error = start(home.path()).unwrap_err();
        assert!(error.contains("the service did not start") && error.contains(says), "{file}: {error}");
        assert!(!error.contains("panicked"), "{error}");
        std::fs::remove_file(service.join(file)).unwrap();
        let socket = start(home.path()).unwrap();
        assert!(std::os::unix::net::UnixStream::connect(socket).is_ok());
    }
}

#[test]
fn a_service_of_another_protocol_is_refused_with_both_versions() {
    let home = tempfile::tempdir().unwrap();
    let service = home.path().join("service");
    std::fs::create_dir(&service).unwrap();
    let socket = home.path().join("s");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let facts = serde_json::json!({"socket": socket, "pid": 1, "protocol": 0});
    std::fs::write(service.join("lock"), facts.to_string()).unwrap();
    let lock = std::fs::File::open(service.join("lock")).unwrap();
    lock.lock().unwrap();
    let error = start(home.path()).unwrap_err();
    assert!(error.contains("protocol 0") && error.contains("this lrsh speaks 1"), "{error}");
}

#[test]
fn many_starters_at_once_find_one_service() {
    let home = tempfile::tempdir().unwrap();
    let starter = || -> Child {
        Command::new(env!("CARGO_BIN_EXE_lrsh"))
            .args(["paths", "--start", "socket"])
            .env("LRSH_HOME", home.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let starters: Vec<Child> = (0..6).map(|_| starter()).collect();
    let found: Vec<Output> = starters.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    assert!(found.iter().all(|output| output.status.success() && output.stdout == found[0].stdout), "{found:?}");
}
