//! Starting the background process: what a home that cannot be used is told, and that it works again afterwards.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::kit::home::Home;
use crate::kit::need::need;
use crate::kit::talking::{Talking, until};

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
    for (file, says) in [("store.db", "lrsh begins with an empty log"), ("service.toml", "service.toml")] {
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
fn a_lock_that_somebody_emptied_is_said_with_what_to_do() {
    let home = Home::new();
    let (_, keep) = home.hold();
    let path = home.home().service().join("lock");
    for content in ["", "no service wrote this"] {
        std::fs::write(&path, content).unwrap();
        for arguments in [&["-c", "session"][..], &["paths", "socket"]] {
            let output = home.lrsh(arguments).output().unwrap();
            let error = String::from_utf8(output.stderr).unwrap();
            assert!(!output.status.success(), "{arguments:?}");
            assert!(error.contains(path.to_str().unwrap()) && error.contains("fuser -k"), "{error}");
        }
    }
    drop(keep);
    until("the service ends by itself", || home.service_pid().is_none());
    assert!(home.lrsh(&["-c", "session"]).status().unwrap().success());
}

#[test]
fn a_start_that_fails_leaves_no_socket_behind() {
    let home = Home::new();
    std::fs::create_dir_all(home.home().service()).unwrap();
    std::fs::write(home.home().service().join("service.toml"), "= [").unwrap();
    assert!(!home.lrsh(&["-c", "session"]).status().unwrap().success());
    let left = std::fs::read_dir(home.path()).unwrap().flatten().map(|entry| entry.file_name().into_string().unwrap());
    let left: Vec<String> = left.filter(|name| name.starts_with("lrsh-")).collect();
    assert!(left.is_empty(), "{left:?}");
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

#[test]
fn asking_what_runs_disturbs_no_start() {
    let home = Home::new();
    let service = home.path().join("service");
    std::fs::create_dir(&service).unwrap();
    let (start, lock) = (service.join("start"), service.join("lock"));
    std::fs::write(&start, "").unwrap();
    std::fs::write(&lock, "{}").unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    assert!(lrsh::host::start::running(&home.home()).unwrap().is_none());
                }
            });
        }
        let (start, lock) = (File::open(start).unwrap(), File::open(lock).unwrap());
        for _ in 0..2000 {
            // As every starter does.
            start.lock().unwrap();
            let is_free = lock.try_lock().is_ok();
            if is_free {
                lock.unlock().unwrap();
            }
            start.unlock().unwrap();
            if !is_free {
                is_over.store(true, Ordering::Relaxed);
                panic!("a starter took the question for a service that runs");
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn what_a_killed_service_left_is_cleared_and_what_ends_leaves_nothing() {
    let home = Home::new();
    let left = home.path().join("lrsh-left");
    std::fs::create_dir_all(home.path().join("service")).unwrap();
    std::fs::create_dir(&left).unwrap();
    let stale = std::os::unix::net::UnixListener::bind(left.join("s")).unwrap();
    drop(stale);
    let facts = serde_json::json!({"socket": left.join("s"), "pid": 1, "protocol": 1});
    std::fs::write(home.path().join("service/lock"), facts.to_string()).unwrap();
    assert!(home.lrsh(&["-c", "session"]).status().unwrap().success());
    assert!(!left.exists(), "the socket of a service that was killed stays");
    until("the service ends by itself", || home.service_pid().is_none());
    let folders = std::fs::read_dir(home.path()).unwrap().flatten().map(|entry| entry.file_name().into_string().unwrap());
    let folders: Vec<String> = folders.filter(|name| name.starts_with("lrsh-")).collect();
    assert!(folders.is_empty(), "{folders:?}");
}

#[test]
fn twenty_shells_at_once_have_one_service_and_one_session() {
    let home = Home::new();
    let shells: Vec<Talking> = (0..20).map(|_| Talking::start(home.lrsh(&["--stream"]))).collect();
    let shells: Vec<(Talking, String)> = shells
        .into_iter()
        .map(|mut shell| {
            shell.say("session -output jsonl");
            let session = shell.hear();
            let id = session["session_id"].as_str().unwrap().to_owned();
            (shell, id)
        })
        .collect();
    let (_, session) = &shells[0];
    let session = session.clone();
    assert!(shells.iter().all(|(_, id)| *id == session), "{:?}", shells.iter().map(|(_, id)| id).collect::<Vec<_>>());
    let running = lrsh::host::start::running(&home.home()).unwrap().unwrap();
    assert_eq!(home.service_pid(), Some(running.pid));
    for (shell, _) in shells {
        shell.leave();
    }
    // The last to leave has closed it: the next shell has a session of its own.
    let output = home.lrsh(&["-c", "sessions -output jsonl"]).output().unwrap();
    let sessions = String::from_utf8(output.stdout).unwrap();
    let told = sessions.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let states: Vec<(String, String)> = told
        .map(|told| (told["session_id"].as_str().unwrap().to_owned(), told["state"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(states, [(session, "closed".to_owned())]);
}

#[test]
fn one_home_is_found_from_any_environment_and_two_never_meet() {
    let runtime = tempfile::tempdir().unwrap();
    std::fs::set_permissions(runtime.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let (home, other) = (Home::new(), Home::new());
    let in_runtime = |home: &Home| {
        let mut command = home.lrsh(&["--stream"]);
        command.env("XDG_RUNTIME_DIR", runtime.path());
        Talking::start(command)
    };
    let session = |shell: &mut Talking| {
        shell.say("session -output jsonl");
        shell.hear()["session_id"].as_str().unwrap().to_owned()
    };
    let (mut here, mut there) = (in_runtime(&home), in_runtime(&other));
    let (mine, theirs) = (session(&mut here), session(&mut there));
    assert_ne!(mine, theirs);
    // As cron, sudo or ssh without a login leave the environment.
    let mut bare = home.lrsh(&["--stream"]);
    bare.env_clear().env("LRSH_HOME", home.path()).env("PATH", "/usr/bin:/bin");
    let mut bare = Talking::start(bare);
    assert_eq!(session(&mut bare), mine);
    // The same home by another name.
    let link = runtime.path().join("link");
    std::os::unix::fs::symlink(home.path(), &link).unwrap();
    let mut by_link = home.lrsh(&["--stream"]);
    by_link.env("LRSH_HOME", &link);
    let mut by_link = Talking::start(by_link);
    assert_eq!(session(&mut by_link), mine);
    for shell in [here, there, bare, by_link] {
        shell.leave();
    }
}

#[test]
fn another_user_is_refused() {
    if !rustix::process::geteuid().is_root() || !need(&["setpriv", "curl"]) {
        return;
    }
    let home = Home::new();
    let mut shell = Talking::start(home.lrsh(&["--stream"]));
    shell.say("session -output jsonl");
    let _ = shell.hear();
    let socket = home.socket();
    // The folders keep others out; were they open, the service would.
    let open = |path: &Path| std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    for path in [home.path(), socket.parent().unwrap(), &socket] {
        open(path);
    }
    let curl = |user: &str| {
        let mut curl = Command::new("setpriv");
        curl.args(["--reuid", user, "--regid", user, "--clear-groups", "curl", "-sS", "--unix-socket"]);
        let output = curl.arg(&socket).arg("http://lrsh/api/v1/devices").output().unwrap();
        serde_json::from_slice::<Value>(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
    };
    assert_eq!(curl("0")[0]["platform"], "linux");
    assert_eq!(curl("65534")["error"]["code"], "role");
    shell.leave();
}

#[test]
fn a_service_whose_socket_was_removed_is_found_again() {
    let (home, runtime) = (Home::new(), tempfile::tempdir().unwrap());
    std::fs::set_permissions(runtime.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let mut command = home.lrsh(&["--stream"]);
    command.env("XDG_RUNTIME_DIR", runtime.path());
    let mut stays = Talking::start(command);
    stays.say("session -output jsonl");
    let session = stays.hear()["session_id"].clone();
    // As the system does with a user's runtime folder once they have logged out everywhere.
    drop(runtime);
    let mut bare = home.lrsh(&["--stream"]);
    bare.env_clear().env("LRSH_HOME", home.path()).env("PATH", "/usr/bin:/bin");
    let mut next = Talking::start(bare);
    next.say("session -output jsonl");
    assert_eq!(next.hear()["session_id"], session);
    stays.say("dir / -first 1 -output jsonl");
    assert!(stays.hear()["path"].is_string(), "who was connected stays so");
    let socket = home.socket();
    next.leave();
    stays.leave();
    until("the service ends by itself", || home.service_pid().is_none());
    assert!(!socket.parent().unwrap().exists());
}
