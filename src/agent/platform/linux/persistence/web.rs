//! Scripts below the roots of web servers that no package shipped: those that hand what a visitor sends to a shell or an
//! interpreter, and those that changed lately.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::{Search, glob};
use crate::agent::context::VerbResult;
use crate::agent::path::reason;

const ROOTS: [&str; 11] = [
    "/var/www",
    "/srv/www",
    "/srv/http",
    "/usr/share/nginx/html",
    "/usr/local/www",
    "/usr/lib/cgi-bin",
    "/usr/local/lib/cgi-bin",
    "/var/lib/tomcat*/webapps",
    "/opt/*/webapps",
    "~/public_html",
    "~/www",
];
const ENDINGS: [&str; 18] = [
    "phtml", "pht", "phar", "inc", "jsp", "jspx", "jspf", "asp", "aspx", "ashx", "asmx", "cfm", "cgi", "fcgi", "pl", "py",
    "sh", "shtml",
];
/// Settings that make a server run what it would not.
const SETTINGS: [&str; 2] = [".htaccess", ".user.ini"];
const MAX_FILES: usize = 200_000;
const MAX_DEPTH: usize = 32;
/// How much of a script is looked at.
const MAX_SCRIPT: u64 = 16 * 1024 * 1024;
const MAX_TOLD: usize = 10_000;
/// Days in which a change is lately.
const LATELY: i64 = 7;

pub(super) fn web(search: &mut Search<'_>) -> VerbResult {
    let mut scripts = Vec::new();
    let homes = search.homes;
    for root in ROOTS {
        for (root, _) in glob::files(search.root, &mut search.unseen, root, homes) {
            collect(search, &root, MAX_DEPTH, &mut scripts)?;
        }
    }
    let lately = jiff::Timestamp::now().as_second() - LATELY * 86_400;
    let mut told = 0;
    for file in scripts {
        search.stop.check()?;
        let Ok(facts) = search.root.link_facts(&file) else { continue };
        let (why, error) = match text(search, &file) {
            Ok(text) => {
                let cut = (facts.size > MAX_SCRIPT).then(|| format!("only its first {MAX_SCRIPT} bytes were looked at"));
                (suspicion(&text), cut)
            }
            Err(error) => (None, Some(reason(&error).1)),
        };
        // When a file was changed can be set at will, when the kernel did so cannot; in a tree that was unpacked it says nothing.
        let changed = search.root.is_live().then_some(facts.changed);
        let mut times = [Some(facts.modified), changed].into_iter().flatten();
        let is_new = times.any(|time| time.timestamp().is_some_and(|at| at.as_second() > lately));
        if why.is_none() && !is_new && error.is_none() {
            continue;
        }
        if told >= MAX_TOLD {
            search.unseen.cut(file.parent().unwrap_or(&file));
            return Ok(());
        }
        let mut entry = search.entry("web", "T1505.003", &file);
        if entry.shipped == Some(true) {
            continue;
        }
        entry.runs = Some(why.map_or_else(|| file.to_string_lossy().into_owned(), ToOwned::to_owned));
        entry.error = error.filter(|_| why.is_none());
        search.found.push(entry);
        told += 1;
    }
    Ok(())
}

/// As much of a script as is looked at.
fn text(search: &Search<'_>, file: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    search.root.open_regular(file)?.take(MAX_SCRIPT).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn collect(search: &mut Search<'_>, folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> VerbResult {
    for path in search.unseen.paths(search.root, folder) {
        search.stop.check()?;
        let Ok(facts) = search.root.link_facts(&path) else { continue };
        if facts.is_folder() {
            if depth > 0 {
                collect(search, &path, depth - 1, found)?;
            } else {
                search.unseen.cut(&path);
            }
            continue;
        }
        if !facts.is_file() || !is_script(&path) {
            continue;
        }
        if found.len() >= MAX_FILES {
            search.unseen.cut(folder);
            return Ok(());
        }
        found.push(path);
    }
    Ok(())
}

fn is_script(path: &Path) -> bool {
    let ending = path.extension().and_then(|end| end.to_str()).unwrap_or_default().to_ascii_lowercase();
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    // `php3` to `php8`, and whatever a server may be told to run besides.
    ending.starts_with("php") || ENDINGS.contains(&ending.as_str()) || SETTINGS.contains(&name)
}

/// What a visitor sends, in lower case.
const SENT: [&str; 17] = [
    "$_get",
    "$_post",
    "$_request",
    "$_cookie",
    "$_files",
    "$_server['http_",
    "$_server[\"http_",
    "$_server['query_",
    "$_server[\"query_",
    "getallheaders(",
    "php://input",
    "getparameter",
    "getheader",
    "request[",
    "request.",
    "query_string",
    "cgi.fieldstorage",
];

/// What in a script gives a visitor the server's hands. What looks like a comment may be one, or begin within a text.
fn suspicion(text: &str) -> Option<&'static str> {
    of_plain(&plain(text)).or_else(|| text.contains("/*").then(|| of_plain(&plain(&uncommented(text)))).flatten())
}

fn of_plain(text: &str) -> Option<&'static str> {
    const RUNS: [(&str, &str); 19] = [
        ("eval(", "runs code that is sent to it (eval)"),
        ("assert(", "runs code that is sent to it (assert)"),
        ("create_function(", "runs code that is sent to it (create_function)"),
        ("shell_exec(", "runs commands that are sent to it (shell_exec)"),
        ("passthru(", "runs commands that are sent to it (passthru)"),
        ("proc_open(", "runs commands that are sent to it (proc_open)"),
        ("pcntl_exec(", "runs commands that are sent to it (pcntl_exec)"),
        ("popen(", "runs commands that are sent to it (popen)"),
        ("system(", "runs commands that are sent to it (system)"),
        ("exec(", "runs commands that are sent to it (exec)"),
        ("call_user_func", "runs functions that are sent to it (call_user_func)"),
        ("array_map($_", "runs functions that are sent to it (array_map)"),
        ("getruntime(", "runs commands that are sent to it (getRuntime)"),
        ("processbuilder(", "runs commands that are sent to it (ProcessBuilder)"),
        ("process.start(", "runs commands that are sent to it (Process.Start)"),
        ("wscript.shell", "runs commands that are sent to it (WScript.Shell)"),
        ("subprocess.", "runs commands that are sent to it (subprocess)"),
        ("move_uploaded_file(", "keeps files that are sent to it (move_uploaded_file)"),
        ("classloader", "loads classes that are sent to it (ClassLoader)"),
    ];
    const HIDES: [&str; 7] =
        ["base64_decode(", "gzinflate(", "gzuncompress(", "str_rot13(", "hex2bin(", "convert_uudecode(", "strrev("];
    if text.contains("auto_prepend_file") || text.contains("auto_append_file") {
        return Some("runs code before every page (auto_prepend_file)");
    }
    if text.contains("addhandler") || text.contains("addtype application/x-httpd") || text.contains("sethandler") {
        return Some("makes other files scripts (AddHandler)");
    }
    if HIDES.iter().any(|way| text.contains(way)) && has_call(text, "eval(") {
        return Some("runs code that is hidden in it (eval)");
    }
    if !SENT.iter().any(|sent| text.contains(sent)) {
        return None;
    }
    let known = RUNS.iter().find(|(what, _)| has_call(text, what)).map(|(_, why)| *why);
    let by_place = || {
        let mut sent = SENT.iter().take(4).flat_map(|sent| text.match_indices(sent)).filter_map(|(at, _)| text.get(..at));
        sent.find_map(in_front)
    };
    let in_backticks = || {
        let mut pieces = text.split('`').skip(1).step_by(2);
        pieces.any(|piece| piece.contains("$_")).then_some("runs commands that are sent to it (backticks)")
    };
    known.or_else(by_place).or_else(in_backticks)
}

/// What a script does with something that is sent, by what stands in front of it.
fn in_front(before: &str) -> Option<&'static str> {
    const INCLUDES: [&str; 4] = ["include", "include_once", "require", "require_once"];
    let bare = before.trim_end_matches(['(', ' ', '\'', '"', '@']);
    if INCLUDES.iter().any(|way| bare.ends_with(way)) {
        return Some("runs files that are named to it (include)");
    }
    let called = before.strip_suffix('(')?;
    let word = called.trim_end_matches(|letter: char| letter.is_ascii_alphanumeric() || letter == '_');
    let is_variable = word.len() < called.len() && word.ends_with('$');
    (is_variable || called.ends_with([']', '}', '\'', '"', ')'])).then_some("runs functions that are sent to it")
}

/// Whether a function is called that is no part of another name and no method.
fn has_call(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let before = text.get(..at).unwrap_or_default();
        let is_part = before.ends_with(|letter: char| letter.is_ascii_alphanumeric() || letter == '_');
        !is_part && !before.ends_with("->") && !before.ends_with("::")
    })
}

/// A script without its comments between signs.
fn uncommented(text: &str) -> String {
    let mut bare = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("/*") {
        bare.push_str(before);
        let Some((_, behind)) = behind.split_once("*/") else {
            rest = "";
            break;
        };
        rest = behind;
    }
    bare.push_str(rest);
    bare
}

/// A script in lower case and without blanks around the brackets of a call: however it is written, it is the same.
fn plain(text: &str) -> String {
    let mut tight = String::with_capacity(text.len());
    for letter in text.chars().map(|letter| letter.to_ascii_lowercase()) {
        if matches!(letter, '(' | '[') {
            tight.truncate(tight.trim_end().len());
        }
        if !(letter.is_whitespace() && tight.ends_with(['(', '['])) {
            tight.push(letter);
        }
    }
    tight
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_that_serve_a_visitor_stand_out() {
        for text in [
            "<?php system($_GET['c']); ?>",
            "<?php eval(base64_decode('eA==')); ?>",
            "php_value auto_prepend_file /tmp/x",
            "<% Runtime.getRuntime().exec(request.getParameter(\"c\")) %>",
            "<?=`$_GET[0]`?>",
            "<?php $_GET[0]($_GET[1]);",
            "<?php SYSTEM($_GET[0]);",
            "<?php @include($_GET[0]);",
            "<?php include $_GET['p'];",
            "<?php require_once ( $_REQUEST [ 'p' ] );",
            "<?php system($_SERVER[\"HTTP_X\"]);",
            "<?php system ($_GET[0]);",
            "<?php system/* x */($_GET[0]);",
            "<?php header('image/*'); system($_GET[0]); /* x */",
            "<?php $f = 'sys' . 'tem'; $f($_POST['x']);",
            "<?php ('sys'.'tem')($_POST['x']);",
            "<?php call_user_func($_GET['a'], $_GET['b']);",
            "AddHandler application/x-httpd-php .jpg",
            "import subprocess, cgi\nsubprocess.run(cgi.FieldStorage()['c'].value, shell=True)",
        ] {
            assert!(suspicion(text).is_some(), "{text}");
        }
        for text in [
            "<?php echo htmlspecialchars($_GET['q']); ?>",
            "<?php system('ls'); ?>",
            "<?php $r = curl_exec($c); echo $_GET['q'];",
            "<?php $db->exec($sql); f($_POST['x']); $o->g($_POST['y']);",
            "<?php include $_SERVER['DOCUMENT_ROOT'] . '/head.php'; echo `date`;",
            "/* open <?php echo 1;",
        ] {
            assert_eq!(suspicion(text), None, "{text}");
        }
        for name in ["a.php", "a.PHP3", "a.phtml", ".htaccess", "b.cgi"] {
            assert!(is_script(Path::new(name)), "{name}");
        }
        assert!(!is_script(Path::new("a.html")));
    }
}
