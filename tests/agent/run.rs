//! `run`: parameters arrive exactly, output as it was written, and nothing of a script is left when it has ended, however it did.

use std::path::Path;
use std::time::{Duration, Instant};

use lrsh::grammar::split_arguments;
use lrsh::protocol::link::{AgentLink, DeliveredFile, Delivery, DeviceCommand, StopReason};
use lrsh::protocol::{Body, CommandId, Problem, Status, StreamName};
use sha2::{Digest, Sha256};

use crate::kit::device::{Answer, Device, body};
use crate::kit::mount::Mount;
use crate::kit::need::find;

/// A guard against hanging, nothing else.
const PATIENCE: Duration = Duration::from_mins(1);

fn sha256(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A library file as the service delivers it.
pub fn delivered(name: &str, content: &[u8]) -> (DeliveredFile, Delivery) {
    let file = DeliveredFile { name: name.into(), size: content.len() as u64, sha256: sha256(content), signature: None };
    let pieces: Vec<Vec<u8>> = content.chunks(100_000).map(<[u8]>::to_vec).collect();
    let (sender, delivery) = tokio::sync::mpsc::channel(pieces.len().max(1));
    for piece in pieces {
        sender.try_send(Ok(piece.into())).unwrap();
    }
    (file, delivery)
}

fn prepared(device: &Device, name: &str, content: &[u8], parameters: &str) -> (DeviceCommand, Delivery) {
    let (file, delivery) = delivered(name, content);
    let mut command = device.command("run", &[("script", name), ("parameters", parameters)], &[]);
    command.library_file = Some(file);
    (command, delivery)
}

fn run(device: &Device, name: &str, content: impl AsRef<[u8]>, parameters: &str) -> Answer {
    let (command, delivery) = prepared(device, name, content.as_ref(), parameters);
    let answer = device.send(command, Some(delivery));
    nothing_is_left(device);
    answer
}

/// No private file of a script is left.
fn nothing_is_left(device: &Device) {
    let left: Vec<_> = std::fs::read_dir(device.folder.path().join("agent/run")).into_iter().flatten().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

fn text(answer: &Answer, wanted: StreamName) -> Vec<u8> {
    let pieces = answer.events.iter().filter_map(|body| match body {
        Body::Text(text) if text.stream == wanted => text.data.bytes(),
        _ => None,
    });
    pieces.flatten().collect()
}

fn out(answer: &Answer) -> String {
    assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
    String::from_utf8(text(answer, StreamName::Stdout)).unwrap()
}

#[track_caller]
fn gone(pid: &str) {
    let begun = Instant::now();
    let is_alive = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        !stat.is_empty() && !stat.contains(") Z ")
    };
    while is_alive() {
        assert!(begun.elapsed() < PATIENCE, "process {pid} goes on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Writes pids to a file: of a child, and of one that has forked twice into a session of its own. Then `rest`.
fn family(pids: &Path, rest: &str) -> String {
    let pids = pids.display();
    format!(
        ": > {pids}.new\n\
         (setsid sh -c 'trap \"\" TERM HUP INT; echo $$ >> {pids}.new; sleep 1000 & exec sleep 1001' >/dev/null 2>&1 &)\n\
         sh -c 'echo $$ >> {pids}.new; exec sleep 1002' &\n\
         while [ $(wc -l < {pids}.new) -lt 2 ]; do sleep 0.01; done\n\
         mv {pids}.new {pids}\n{rest}\n"
    )
}

fn read_when_there(file: &Path) -> Vec<String> {
    let begun = Instant::now();
    loop {
        if let Ok(text) = std::fs::read_to_string(file) {
            return text.lines().map(str::to_owned).collect();
        }
        assert!(begun.elapsed() < PATIENCE, "{} never came", file.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Starts a command, waits until `file` is there, asks it to stop, and hears it to its end.
fn stopped_when_there(device: &Device, command: DeviceCommand, delivery: Delivery, file: &Path) -> (Vec<String>, Answer) {
    let id = command.command_id;
    let mut running = device.agent.start(command, Some(delivery));
    let pids = read_when_there(file);
    device.agent.stop(id, StopReason::Cancel { by: "tester".into() });
    let answer = device.runtime.block_on(async move {
        let mut events = Vec::new();
        while let Some(event) = running.events.recv().await {
            match body(event) {
                Body::Completed(completed) => return Answer { events, completed },
                other => events.push(other),
            }
        }
        panic!("no end: {events:?}")
    });
    (pids, answer)
}

#[test]
fn parameters_arrive_exactly() {
    let device = Device::live();
    let all: String = (' '..='~').chain(['\n', '\t', '\r', 'ü', '😀']).collect();
    let mut wanted: Vec<String> = all.chars().map(String::from).collect();
    wanted.extend([
        all,
        String::new(),
        "a\"b'c\"\"d".into(),
        "--".into(),
        "-x".into(),
        "\n\n".into(),
        "$(id) `id` * ~ \\".into(),
    ]);
    let double: Vec<String> = wanted.iter().map(|one| format!("\"{}\"", one.replace('"', "\"\""))).collect();
    let single: Vec<String> = wanted.iter().map(|one| format!("'{}'", one.replace('\'', "''"))).collect();
    for parameters in [double.join(" "), single.join("\n"), String::new(), r"C:\x > | & ; # ! $HOME".into()] {
        for script in ["#!/bin/bash\nprintf '%s\\0' \"$#\" \"$@\"", "printf '%s\\0' \"$#\" \"$@\"\n"] {
            let answer = run(&device, "args.sh", script, &parameters);
            let wanted = split_arguments(&parameters).unwrap();
            let mut told: Vec<String> = out(&answer).split_terminator('\0').map(str::to_owned).collect();
            assert_eq!(told.remove(0), wanted.len().to_string());
            assert!(told == wanted || wanted.is_empty(), "{told:?}\n{wanted:?}");
        }
    }
    let nul = run(&device, "args.sh", "", "a\0b");
    assert_eq!((nul.completed.status, nul.completed.errors[0].code.as_str()), (Status::Failed, "bad_value"));
    let open = run(&device, "args.sh", "", "a 'b");
    assert_eq!((open.completed.status, open.completed.errors[0].code.as_str()), (Status::Failed, "bad_value"));
}

#[test]
fn each_kind_is_started_as_it_asks_to_be() {
    let device = Device::live();
    assert_eq!(out(&run(&device, "a", "#!/bin/sh -e\necho $-; false; echo not here\n", "")).trim().replace("hB", ""), "e");
    assert!(!out(&run(&device, "b.sh", "[[ a == a ]] && echo ${BASH_VERSION}\n", "")).trim().is_empty());
    assert!(out(&run(&device, "c.sh", "echo ${0##*/} $PWD\n", "")).starts_with("c.sh /\n"));
    let program = std::fs::read("/bin/echo").unwrap();
    assert_eq!(out(&run(&device, "echo", &program, "-n 'a  b' c")), "a  b c");
    let refused = |name: &str, content: &str, code: &str, says: &str| {
        let answer = run(&device, name, content, "");
        let problem = &answer.completed.errors[0];
        assert_eq!((answer.completed.status, problem.code.as_str()), (Status::Failed, code), "{problem}");
        assert!(problem.message.contains(says), "{problem}");
    };
    refused("d", "#! /no/such/interpreter -x\n", "no_interpreter", "/no/such/interpreter is not on this device");
    refused("e.sh", "#!/bin/sh\r\necho x\r\n", "no_interpreter", "Windows line ends");
    refused("f", "\x7fELF of another world", "not_executable", "no program for this device");
    if find("pwsh").is_none() {
        refused("g.PS1", "Write-Output 1", "no_interpreter", "`pwsh`");
    }
    refused("../h", "", "bad_name", "letters");
}

#[test]
fn a_file_system_that_lets_nothing_be_run_is_no_obstacle() {
    let device = Device::live();
    let folder = device.folder.path().join("agent/run");
    std::fs::create_dir_all(&folder).unwrap();
    let Some(_mount) = Mount::with(&folder, "noexec,mode=700") else { return };
    assert_eq!(out(&run(&device, "a", "#! /bin/sh  -e \necho $- \"$1\" ${0##*/}\n", "'a  b'")).replace("hB", ""), "e a  b a\n");
    assert_eq!(out(&run(&device, "b.sh", "echo ${0##*/} \"$1\"\n", "c")), "b.sh c\n");
    assert_eq!(out(&run(&device, "echo", std::fs::read("/bin/echo").unwrap(), "-n 'a  b' c")), "a  b c");
    for (content, code) in [("#!/no/such/interpreter\n", "no_interpreter"), ("\x7fELF of another world", "not_executable")] {
        assert_eq!(run(&device, "d", content, "").completed.errors[0].code, code);
    }
}

#[test]
fn output_comes_as_it_was_written() {
    let device = Device::live();
    assert_eq!(out(&run(&device, "a", "", "")), "");
    assert_eq!(out(&run(&device, "b", "printf 'no line end'", "")), "no line end");
    let both = run(&device, "c", "echo out; echo err >&2; exit 7", "");
    assert_eq!((out(&both).as_str(), text(&both, StreamName::Stderr)), ("out\n", b"err\n".to_vec()));
    assert_eq!((&both.object()["exit_code"], &both.object()["script_name"]), (&7.into(), &"c".into()));
    let all: Vec<u8> = (0..=255).collect();
    let binary = run(&device, "d", "for n in {0..255}; do printf \"\\\\x$(printf %x $n)\"; done", "");
    assert_eq!(text(&binary, StreamName::Stdout), all);
    let large = run(&device, "e", "head -c 20000000 /dev/zero | tr '\\0' 'é'; seq 500000", "");
    let seq: String = (1..=500_000).map(|n| format!("{n}\n")).collect();
    let told = text(&large, StreamName::Stdout);
    assert_eq!(told.len(), 20_000_000 + seq.len());
    assert!(told.ends_with(seq.as_bytes()));
    let killed = run(&device, "f", "kill -9 $$", "").object();
    assert_eq!((&killed["exit_code"], &killed["signal"]), (&137.into(), &9.into()));
    assert_eq!(out(&run(&device, "g", "cat; read x || echo no input", "")), "no input\n");
    assert!(run(&device, "h", "i=0; while ((i < 300000)); do ((i++)); done", "").completed.cost.cpu_ms > 0);
}

#[test]
fn it_starts_in_the_current_directory() {
    let device = Device::live();
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().canonicalize().unwrap();
    let (mut command, delivery) = prepared(&device, "a", b"pwd; umask", "");
    command.current_directory = directory.to_str().unwrap().into();
    assert_eq!(out(&device.send(command, Some(delivery))), format!("{}\n0022\n", directory.display()));
    let (mut command, delivery) = prepared(&device, "a", b"pwd", "");
    command.current_directory = "/no/such/folder".into();
    assert_eq!(device.send(command, Some(delivery)).completed.errors[0].code, "not_found");
    nothing_is_left(&device);
}

#[test]
fn cancel_ends_the_whole_tree() {
    let device = Device::live();
    let folder = tempfile::tempdir().unwrap();
    for (n, rest) in
        ["sleep 1003", "trap '' TERM; while :; do sleep 1; done", "trap 'echo bye; exit 4' TERM; sleep 1004 & wait"]
            .into_iter()
            .enumerate()
    {
        let file = folder.path().join(n.to_string());
        let (command, delivery) = prepared(&device, "family.sh", family(&file, rest).as_bytes(), "");
        let (pids, answer) = stopped_when_there(&device, command, delivery, &file);
        assert_eq!((answer.completed.status, pids.len()), (Status::Cancelled, 2));
        pids.iter().for_each(|pid| gone(pid));
        let receipt = answer.events.iter().find_map(|body| match body {
            Body::Receipt(receipt) => Some(receipt.clone()),
            _ => None,
        });
        let receipt = receipt.unwrap();
        assert!(receipt.confirmed && receipt.not_done.is_empty() && receipt.done[1].contains("processes"), "{receipt:?}");
        if n == 2 {
            assert_eq!((text(&answer, StreamName::Stdout), &answer.object()["exit_code"]), (b"bye\n".to_vec(), &4.into()));
        }
        nothing_is_left(&device);
    }
}

#[test]
fn the_time_limit_ends_the_whole_tree() {
    let device = Device::live();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pids");
    let (mut command, delivery) = prepared(&device, "family.sh", family(&file, "sleep 1003").as_bytes(), "");
    command.time_limit_ms = 3000;
    let answer = device.send(command, Some(delivery));
    assert_eq!(answer.completed.status, Status::Expired, "{:?}", answer.completed);
    read_when_there(&file).iter().for_each(|pid| gone(pid));
    nothing_is_left(&device);
}

#[test]
fn what_a_script_leaves_behind_ends_with_it() {
    let device = Device::live();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pids");
    let answer = run(&device, "daemon.sh", family(&file, "echo done"), "");
    assert_eq!(out(&answer), "done\n");
    assert!(answer.object()["also_ended"].as_u64().unwrap() >= 2, "{}", answer.object());
    read_when_there(&file).iter().for_each(|pid| gone(pid));
    // What only reads to the end what it wrote is waited for.
    let answer = run(&device, "tee.sh", "exec > >(sleep 0.1; cat)\necho through another\n", "");
    assert_eq!((out(&answer).as_str(), &answer.object()["also_ended"]), ("through another\n", &0.into()));
}

#[test]
fn whatever_a_script_does_to_its_own_folder_it_goes_with_it() {
    let device = Device::live();
    let home = "d=$(dirname \"$0\"); h=$(dirname \"$d\")";
    for rest in [
        "rm -rf $h",
        "chmod 000 $0 $d $h",
        "mkdir $d/a; touch $d/a/b; chattr +i $0 $d/a/b $d 2>/dev/null; true",
        "mount -t tmpfs tmpfs $d 2>/dev/null; true",
        "ln -s / $d/root; mkfifo $d/fifo; ln -s $d $h/loop",
    ] {
        assert_eq!(out(&run(&device, "a.sh", format!("{home}; {rest}; echo ran"), "")), "ran\n", "{rest}");
    }
    // What only looks like its own is left alone.
    assert!(std::path::Path::new("/etc").is_dir());
}

#[test]
fn a_supervisor_that_is_killed_leaves_nothing_either() {
    let device = Device::live();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pids");
    let answer = run(&device, "traitor.sh", family(&file, "kill -9 $PPID; sleep 1005"), "");
    assert_eq!((answer.completed.status, answer.completed.errors[0].code.as_str()), (Status::Failed, "supervisor_ended"));
    read_when_there(&file).iter().for_each(|pid| gone(pid));
}

#[test]
fn a_file_that_was_changed_is_not_run() {
    let device = Device::live();
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("ran");
    let content = format!("touch {}\n", mark.display());
    let check = |change: &dyn Fn(&mut DeliveredFile), code: &str| {
        let (mut command, delivery) = prepared(&device, "a.sh", content.as_bytes(), "");
        change(command.library_file.as_mut().unwrap());
        let answer = device.send(command, Some(delivery));
        assert_eq!((answer.completed.status, answer.completed.errors[0].code.as_str()), (Status::Failed, code));
        nothing_is_left(&device);
    };
    check(&|file| file.sha256 = sha256(b"another"), "hash_differs");
    check(&|file| file.size += 1, "hash_differs");
    check(&|file| file.size -= 1, "hash_differs");
    let (mut command, _) = prepared(&device, "a.sh", content.as_bytes(), "");
    let (sender, delivery) = tokio::sync::mpsc::channel(1);
    sender.try_send(Err(Problem::new("hash_differs", "altered in the service's folder"))).unwrap();
    command.command_id = CommandId::new();
    assert_eq!(device.send(command, Some(delivery)).completed.errors[0].message, "altered in the service's folder");
    assert!(!mark.exists());
    out(&run(&device, "a.sh", &content, ""));
    assert!(mark.exists());
}

#[test]
fn a_hundred_at_once_do_not_mix() {
    let device = Device::live();
    let runs: Vec<_> = (0..100)
        .map(|n| {
            let content = format!("for i in {{1..50}}; do echo {n} $1; echo {n} >&2; done; exit {n}");
            let (command, delivery) = prepared(&device, "same.sh", content.as_bytes(), &n.to_string());
            device.agent.start(command, Some(delivery))
        })
        .collect();
    for (n, mut running) in runs.into_iter().enumerate() {
        let answer = device.runtime.block_on(async {
            let mut events = Vec::new();
            loop {
                match body(running.events.recv().await.unwrap()) {
                    Body::Completed(completed) => return Answer { events, completed },
                    other => events.push(other),
                }
            }
        });
        assert_eq!(out(&answer), format!("{n} {n}\n").repeat(50));
        assert_eq!(String::from_utf8(text(&answer, StreamName::Stderr)).unwrap(), format!("{n}\n").repeat(50));
        assert_eq!(answer.object()["exit_code"], n);
    }
    nothing_is_left(&device);
}

#[test]
fn a_mounted_root_runs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let device = Device::at(folder.path());
    let (command, delivery) = prepared(&device, "a.sh", b"true", "");
    assert_eq!(device.send(command, Some(delivery)).completed.errors[0].code, "not_on_platform");
}

#[test]
fn a_device_checks_signatures_again() {
    let device = Device::live();
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("ran");
    let content = format!("touch {}\n", mark.display());
    // From the documentation of minisign-verify: a key, and the signature of `test`.
    let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3".to_owned();
    let signature = "untrusted comment: signature from minisign secret key\n\
        RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=\n\
        trusted comment: timestamp:1633700835\tfile:test\tprehashed\n\
        wLMDjy9FLAuxZ3q4NlEvkgtyhrr0gtTu6KC4KBJdITbbOeAi1zBIYo0v4iTgt8jJpIidRJnp94ABQkJAgAooBQ==";
    let send = |content: &[u8], signature: Option<&str>, keys: &[String]| {
        let (mut command, delivery) = prepared(&device, "a.sh", content, "");
        command.library_file.as_mut().unwrap().signature = signature.map(str::to_owned);
        command.signing_keys = Some(keys.to_vec());
        let answer = device.send(command, Some(delivery));
        nothing_is_left(&device);
        answer
    };
    for (signature, keys, code) in [
        (None, vec![key.clone()], "unsigned"),
        (Some(signature), vec![key.clone()], "bad_signature"),
        (Some(signature), vec![], "bad_signature"),
        (Some("x"), vec![key.clone()], "bad_signature"),
    ] {
        let answer = send(content.as_bytes(), signature, &keys);
        assert_eq!((answer.completed.status, answer.completed.errors[0].code.as_str()), (Status::Failed, code));
    }
    assert!(!mark.exists());
    // `test` as a script of bash says nothing and ends with 1.
    assert_eq!(send(b"test", Some(signature), &[key]).object()["exit_code"], 1);
}
