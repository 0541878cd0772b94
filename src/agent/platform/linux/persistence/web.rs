//! Scripts below the roots of web servers that no package shipped: those that hand what a visitor sends to a shell or an
//! interpreter, and those that changed lately.

use std::path::{Path, PathBuf};

use super::Search;
use crate::agent::context::VerbResult;

const ROOTS: [&str; 6] = ["/var/www", "/srv/www", "/srv/http", "/usr/share/nginx/html", "/usr/local/www", "/usr/lib/cgi-bin"];
const ENDINGS: [&str; 14] =
    ["php", "phtml", "php5", "php7", "phar", "inc", "jsp", "jspx", "asp", "aspx", "cgi", "pl", "py", "sh"];
/// Settings that make a server run what it would not.
const SETTINGS: [&str; 2] = [".htaccess", ".user.ini"];
const MAX_FILES: usize = 20_000;
const MAX_DEPTH: usize = 12;
/// How much of a script is looked at.
const MAX_SCRIPT: u64 = 1024 * 1024;
const MAX_TOLD: usize = 1_000;
/// Days in which a change is lately.
const LATELY: i64 = 7;

pub(super) fn web(search: &mut Search<'_>) -> VerbResult {
    let mut scripts = Vec::new();
    for root in ROOTS {
        collect(search, Path::new(root), MAX_DEPTH, &mut scripts)?;
    }
    let lately = jiff::Timestamp::now().as_second() - LATELY * 86_400;
    let mut told = 0;
    for file in scripts {
        search.stop.check()?;
        let Ok(facts) = search.root.link_facts(&file) else { continue };
        let text = search.root.read(&file, MAX_SCRIPT).unwrap_or_default();
        let why = suspicion(&String::from_utf8_lossy(&text));
        let is_new = facts.modified.timestamp().is_some_and(|at| at.as_second() > lately);
        if (why.is_none() && !is_new) || told >= MAX_TOLD {
            continue;
        }
        let mut entry = search.entry("web", "T1505.003", &file);
        if entry.shipped == Some(true) {
            continue;
        }
        entry.runs = Some(why.map_or_else(|| file.to_string_lossy().into_owned(), ToOwned::to_owned));
        search.found.push(entry);
        told += 1;
    }
    Ok(())
}

fn collect(search: &Search<'_>, folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> VerbResult {
    for name in search.root.names(folder, MAX_FILES).unwrap_or_default() {
        search.stop.check()?;
        if found.len() >= MAX_FILES {
            return Ok(());
        }
        let path = folder.join(&name);
        let Ok(facts) = search.root.link_facts(&path) else { continue };
        if facts.is_folder() && depth > 0 {
            collect(search, &path, depth - 1, found)?;
        }
        let ending = path.extension().and_then(|end| end.to_str()).unwrap_or_default().to_ascii_lowercase();
        let is_script = ENDINGS.contains(&ending.as_str()) || name.to_str().is_some_and(|name| SETTINGS.contains(&name));
        if facts.is_file() && is_script {
            found.push(path);
        }
    }
    Ok(())
}

/// What in a script gives a visitor the server's hands.
fn suspicion(text: &str) -> Option<&'static str> {
    const SENT: [&str; 9] =
        ["$_GET", "$_POST", "$_REQUEST", "$_COOKIE", "php://input", "getParameter", "Request[", "Request.", "QUERY_STRING"];
    const RUNS: [(&str, &str); 14] = [
        ("eval(", "runs code that is sent to it (eval)"),
        ("assert(", "runs code that is sent to it (assert)"),
        ("create_function", "runs code that is sent to it (create_function)"),
        ("shell_exec(", "runs commands that are sent to it (shell_exec)"),
        ("passthru(", "runs commands that are sent to it (passthru)"),
        ("proc_open(", "runs commands that are sent to it (proc_open)"),
        ("popen(", "runs commands that are sent to it (popen)"),
        ("system(", "runs commands that are sent to it (system)"),
        ("exec(", "runs commands that are sent to it (exec)"),
        ("getRuntime", "runs commands that are sent to it (getRuntime)"),
        ("ProcessBuilder", "runs commands that are sent to it (ProcessBuilder)"),
        ("move_uploaded_file", "keeps files that are sent to it (move_uploaded_file)"),
        ("auto_prepend_file", "runs code before every page (auto_prepend_file)"),
        ("AddHandler", "makes other files scripts (AddHandler)"),
    ];
    let is_sent = SENT.iter().any(|sent| text.contains(sent));
    let hidden = ["base64_decode(", "gzinflate(", "str_rot13("].iter().any(|way| text.contains(way)) && text.contains("eval(");
    if hidden {
        return Some("runs code that is hidden in it (eval)");
    }
    let settings = |what: &str| what == "auto_prepend_file" || what == "AddHandler";
    RUNS.iter().find(|(what, _)| text.contains(what) && (is_sent || settings(what))).map(|(_, why)| *why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_that_serve_a_visitor_stand_out() {
        assert!(suspicion("<?php system($_GET['c']); ?>").is_some());
        assert!(suspicion("<?php eval(base64_decode('eA==')); ?>").is_some());
        assert!(suspicion("php_value auto_prepend_file /tmp/x").is_some());
        assert!(suspicion("<% Runtime.getRuntime().exec(request.getParameter(\"c\")) %>").is_some());
        assert_eq!(suspicion("<?php echo htmlspecialchars($_GET['q']); ?>"), None);
        assert_eq!(suspicion("<?php system('ls'); ?>"), None);
    }
}
