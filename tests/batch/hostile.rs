//! Files whose names want to harm the analyst's terminal: shown, never obeyed, and named back by what is shown.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use lrsh::protocol::text::{from_file_uri, is_hostile};

use crate::kit::shell::Home;

/// Names that no terminal may see as they are.
const NAMES: [&[u8]; 15] = [
    b"new\nline",
    b"return\rfake",
    b"tab\tstop",
    b"colour\x1b[31mred",
    b"title\x1b]0;pwned\x07",
    b"clipboard\x1b]52;c;cHduZWQ=\x07",
    b"c1\xc2\x9b31m",
    b"raw c1\x9b31m",
    "bidi\u{202e}gpj.exe".as_bytes(),
    "isolate\u{2066}x\u{2069}".as_bytes(),
    "zero\u{200b}width".as_bytes(),
    b"not utf-8 \xff\xfe",
    b"delete\x7f\x08\x08",
    b" blank at both ends ",
    "no\u{a0}break".as_bytes(),
];

/// Names that are odd and yet plain: typed as they are, in quotes.
const PLAIN: [&str; 8] = ["-dash", "a'b", "per%41cent", "$(id)", "back\\slash", "日本", "*star?", "amp&gt>"];

/// A home with a folder of such files, each of which holds its own name.
fn folder() -> (Home, std::path::PathBuf) {
    let home = Home::new();
    let folder = home.work().join("hostile");
    std::fs::create_dir(&folder).unwrap();
    for name in NAMES.into_iter().chain(PLAIN.map(str::as_bytes)) {
        std::fs::write(folder.join(OsStr::from_bytes(name)), hex(name)).unwrap();
    }
    (home, folder)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a text may be sent to a terminal: line feeds are the only control characters.
#[track_caller]
fn harmless(bytes: &[u8]) -> &str {
    let text = std::str::from_utf8(bytes).expect("what is printed is UTF-8");
    assert!(!text.chars().any(|c| is_hostile(c) && c != '\n'), "{text:?}");
    text
}

#[test]
fn what_a_table_shows_is_harmless_and_names_the_file() {
    let (home, folder) = folder();
    for line in [format!("dir {}", folder.display()), format!("findfile * {}", folder.display())] {
        let ran = home.line(&line).code(0);
        harmless(&ran.stderr);
        let table = harmless(&ran.stdout);
        // One row a file, whatever its name.
        let rows = table.lines().skip(1).filter(|row| !row.is_empty()).count();
        assert!(rows == NAMES.len() + PLAIN.len() || line.starts_with("findfile"), "{table}");
        let shown: Vec<&str> = table.split_whitespace().filter(|word| word.starts_with("file:///")).collect();
        assert_eq!(shown.len(), NAMES.len(), "{table}");
        // Pasted back, each is the file that it was shown for.
        let script: String =
            shown.iter().map(|uri| format!("cat {uri}\nfileinfo {uri} -columns size -output jsonl\n")).collect();
        let ran = home.batch(&script).run().code(0);
        let mut lines = harmless(&ran.stdout).lines();
        for uri in shown {
            let path = from_file_uri(uri).unwrap();
            let name = path.strip_prefix(folder.as_os_str().as_bytes()).unwrap().strip_prefix(b"/").unwrap();
            assert!(NAMES.contains(&name), "{uri}");
            // `cat` of what does not end in a line feed is followed by the next answer at once.
            let told = lines.next().unwrap();
            assert_eq!(told, format!("{}{{\"size\":{}}}", hex(name), 2 * name.len()), "{uri}");
        }
    }
    for name in PLAIN {
        let path = folder.join(name);
        assert_eq!(home.line(&format!("cat \"{}\"", path.display())).code(0).out(), hex(name.as_bytes()), "{name}");
    }
}

#[test]
fn json_tells_each_name_exactly_and_harmlessly() {
    let (home, folder) = folder();
    let mut wanted: BTreeMap<Vec<u8>, usize> = NAMES.iter().map(|name| (name.to_vec(), 2 * name.len())).collect();
    wanted.extend(PLAIN.map(|name| (name.as_bytes().to_vec(), 2 * name.len())));
    for format in ["json", "jsonl"] {
        let ran = home.line(&format!("dir {} -output {format}", folder.display())).code(0);
        harmless(&ran.stdout);
        let rows = if format == "json" { ran.json().as_array().unwrap().clone() } else { ran.jsonl() };
        let found = rows.iter().map(|row| {
            let name = match row["path_uri"].as_str() {
                Some(uri) => from_file_uri(uri).unwrap().rsplit(|&byte| byte == b'/').next().unwrap().to_vec(),
                None => row["path"].as_str().unwrap().as_bytes().to_vec(),
            };
            (name, usize::try_from(row["size"].as_u64().unwrap()).unwrap())
        });
        assert_eq!(found.collect::<BTreeMap<_, _>>(), wanted, "{format}");
    }
}

#[test]
fn every_other_way_to_the_screen_is_as_harmless() {
    let (home, folder) = folder();
    let uri = |name: &[u8]| lrsh::protocol::text::file_uri(folder.join(OsStr::from_bytes(name)).as_os_str().as_bytes());
    let mut script = String::new();
    for name in NAMES {
        let missing = [name, b"-missing"].concat();
        script.push_str(&format!("fileinfo {0}\nfileinfo {0} -output csv\ncat {1}\ncd {1}\n", uri(name), uri(&missing)));
    }
    let folder = folder.display();
    script.push_str(&format!("dir {folder} -output csv\nfileinfo {folder}/* -output table\ndir \"{folder}/\u{1b}[2J\"\n"));
    script.push_str("log\nlog 3\nstatus 3\njobs\nsessions\n");
    let ran = home.batch(&script).args(&["--keep-going"]).run().code(1);
    harmless(&ran.stdout);
    harmless(&ran.stderr);
    // Nor does a line that is not understood, or the name of a script.
    let ran = home.batch("dir \u{1b}]52;c;aGk=\u{7} -\u{202e}x\n").run().code(2);
    harmless(&ran.stderr);
    let ran = home.batch("").args(&["\u{1b}[31mmissing\u{202e}.lrsh"]).run().code(2);
    harmless(&ran.stderr);
    let ran = home.batch("processes > \u{1b}[31m/x\n").run().code(1);
    harmless(&ran.stderr);
}

#[test]
fn a_process_cannot_speak_through_its_name_either() {
    let home = Home::new();
    let name = home.work().join(OsStr::from_bytes(b"evil\x1b]0;x\x07\n\xff"));
    std::fs::copy(crate::kit::need::find("sleep").unwrap(), &name).unwrap();
    let mut child = std::process::Command::new(&name).args(["1000"]).spawn().unwrap();
    let pid = child.id();
    let ran = home.batch(&format!("processes {pid}\nprocesses {pid} -output csv\nprocesses {pid} -output json\n")).run();
    child.kill().unwrap();
    child.wait().unwrap();
    let ran = ran.code(0);
    harmless(&ran.stdout);
    assert!(ran.out().contains("evil\\x1b"), "{}", ran.out());
}

#[test]
fn what_an_error_or_a_job_names_stays_on_its_line() {
    let home = Home::new();
    let name = "d\nerror: isolated by admin\n[99]   (Completed)   x";
    std::fs::create_dir(home.work().join(name)).unwrap();
    let path = home.work().join("d*");
    let ran = home.line(&format!("cat {}", path.display())).code(1);
    assert!(!ran.err().lines().any(|line| line.trim_start().starts_with("error: isolated")), "{}", ran.err());
    assert!(ran.err().contains("d%0Aerror"), "{}", ran.err());
    let job = format!("cat \"{}/{name}\" &", home.work().display());
    let ran = home.line(&job);
    assert!(!ran.err().lines().chain(ran.out().lines()).any(|line| line.starts_with("[99]")), "{}{}", ran.out(), ran.err());
}
