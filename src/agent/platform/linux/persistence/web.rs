//! Scripts below the roots of web servers that no package shipped: those that hand what a visitor sends to a shell or an
//! interpreter, and those that changed lately. Where a server has its roots is read from its settings too; of scripts that lie
//! elsewhere, only those that serve a visitor are told.

mod suspicion;

use std::collections::HashSet;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::{MAX_TEXT, Search, glob};
use crate::agent::context::VerbResult;
use crate::agent::path::reason;
use suspicion::suspicion;

const ROOTS: [&str; 13] = [
    "/var/www",
    "/srv/www",
    "/srv/http",
    "/usr/share/nginx/html",
    "/usr/local/www",
    "/usr/lib/cgi-bin",
    "/usr/local/lib/cgi-bin",
    "/usr/share/{phpmyadmin,wordpress,roundcube,adminer}",
    "/var/lib/{wordpress,roundcube}",
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
/// Settings of servers that name roots, and the words that do so.
const SERVERS: [&str; 5] = [
    "/etc/apache2/{apache2.conf,conf-enabled/*,sites-enabled/*}",
    "/etc/httpd/{conf,conf.d}/*.conf",
    "/etc/nginx/{nginx.conf,conf.d/*,sites-enabled/*}",
    "/etc/lighttpd/{lighttpd.conf,conf-enabled/*}",
    "/etc/caddy/Caddyfile",
];
const NAME_ROOTS: [&str; 6] = ["documentroot", "root", "alias", "scriptalias", "server.document-root", "virtualdocumentroot"];
/// Folders that are more than a site.
const NO_ROOTS: [&str; 12] =
    ["/usr", "/usr/share", "/usr/lib", "/etc", "/var", "/var/lib", "/home", "/root", "/proc", "/sys", "/dev", "/run"];
/// The most scripts outside such roots that are looked at.
const MAX_ELSEWHERE: usize = 2_000;
const MAX_FILES: usize = 200_000;
const MAX_DEPTH: usize = 32;
/// How much of a script is looked at.
const MAX_SCRIPT: u64 = 16 * 1024 * 1024;
const MAX_TOLD: usize = 10_000;
/// Days in which a change is lately.
const LATELY: i64 = 7;

/// Adds scripts below the roots, and those of some that lie elsewhere.
pub(super) fn web(search: &mut Search<'_>, elsewhere: Vec<PathBuf>) -> VerbResult {
    let mut look = Look { scripts: Vec::new(), known: HashSet::new() };
    let homes = search.homes;
    for root in ROOTS {
        for (root, _) in glob::files(search.root, &mut search.unseen, root, homes) {
            look.collect(search, &root, MAX_DEPTH, &[])?;
        }
    }
    for root in roots_of_servers(search) {
        look.collect(search, &root, MAX_DEPTH, &[])?;
    }
    let below_roots = look.scripts.len();
    let index = search.index();
    let is_foreign = |file: &PathBuf| index.owner(search.root, file).is_none() && !look.known.contains(file);
    let foreign = elsewhere.into_iter().filter(|file| is_script(file) && is_foreign(file));
    let mut foreign: Vec<PathBuf> = foreign.take(MAX_ELSEWHERE + 1).collect();
    if let Some(file) = foreign.get(MAX_ELSEWHERE) {
        search.unseen.cut(file.parent().unwrap_or(file));
    }
    foreign.truncate(MAX_ELSEWHERE);
    look.scripts.extend(foreign);
    let lately = jiff::Timestamp::now().as_second() - LATELY * 86_400;
    let mut told = 0;
    for (at, file) in look.scripts.into_iter().enumerate() {
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
        if why.is_none() && (at >= below_roots || (!is_new && error.is_none())) {
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

/// The folders that servers' settings make roots.
fn roots_of_servers(search: &mut Search<'_>) -> Vec<PathBuf> {
    let mut roots = Vec::new();
    for pattern in SERVERS {
        for (file, _) in glob::files(search.root, &mut search.unseen, pattern, &[]) {
            let text = search.root.read(&file, MAX_TEXT).unwrap_or_default();
            roots.extend(roots_of(&String::from_utf8_lossy(&text)));
        }
    }
    roots.sort();
    roots.dedup();
    // Those below another are seen with it.
    let all = roots.clone();
    roots.retain(|root| !all.iter().any(|other| other != root && root.starts_with(other)));
    roots
}

/// The folders that a server's settings name. One that is all of the device is nobody's site.
fn roots_of(text: &str) -> Vec<PathBuf> {
    let of_line = |line: &str| {
        let line = line.trim().replace(['=', ';', '{', '}', '"', '\''], " ");
        let mut words = line.split_whitespace();
        let name = words.next()?.to_ascii_lowercase();
        let folder = NAME_ROOTS.contains(&name.as_str()).then(|| words.next_back()).flatten()?;
        // As far as it is the same for every visitor.
        let folder = folder.split(['$', '%', '*']).next()?.trim_end_matches('/');
        (folder.starts_with('/') && !NO_ROOTS.contains(&folder)).then(|| PathBuf::from(folder))
    };
    text.lines().filter_map(of_line).collect()
}

/// As much of a script as is looked at.
fn text(search: &Search<'_>, file: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    search.root.open_regular(file)?.take(MAX_SCRIPT).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

struct Look {
    scripts: Vec<PathBuf>,
    known: HashSet<PathBuf>,
}

impl Look {
    /// Takes the scripts below a folder; `served` are the endings that settings above it make scripts.
    fn collect(&mut self, search: &mut Search<'_>, folder: &Path, depth: usize, served: &[String]) -> VerbResult {
        let paths = search.unseen.paths(search.root, folder);
        let mut served = served.to_vec();
        for settings in paths.iter().filter(|path| path.file_name().is_some_and(|name| name == ".htaccess")) {
            let text = search.root.read(settings, MAX_TEXT).unwrap_or_default();
            served.extend(served_as_scripts(&String::from_utf8_lossy(&text)));
        }
        for path in paths {
            search.stop.check()?;
            let Ok(facts) = search.root.link_facts(&path) else { continue };
            if facts.is_folder() {
                if depth > 0 {
                    self.collect(search, &path, depth - 1, &served)?;
                } else {
                    search.unseen.cut(&path);
                }
                continue;
            }
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_ascii_lowercase();
            if !facts.is_file() || !(is_script(&path) || served.iter().any(|end| name.ends_with(end.as_str()))) {
                continue;
            }
            if self.scripts.len() >= MAX_FILES {
                search.unseen.cut(folder);
                return Ok(());
            }
            if self.known.insert(path.clone()) {
                self.scripts.push(path);
            }
        }
        Ok(())
    }
}

/// The endings that settings of a folder make scripts; an empty one is every file.
fn served_as_scripts(text: &str) -> Vec<String> {
    let mut endings = Vec::new();
    for line in text.lines().map(|line| line.trim().to_ascii_lowercase()) {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("addtype" | "addhandler") => {
                endings.extend(words.skip(1).map(|end| format!(".{}", end.trim_matches(['"', '.']))));
            }
            Some("sethandler" | "forcetype") => endings.push(String::new()),
            _ => {}
        }
    }
    endings
}

/// Whether a server runs a file, by its name.
pub(super) fn is_script(path: &Path) -> bool {
    let ending = path.extension().and_then(|end| end.to_str()).unwrap_or_default().to_ascii_lowercase();
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    // `php3` to `php8`, and whatever a server may be told to run besides.
    ending.starts_with("php") || ENDINGS.contains(&ending.as_str()) || SETTINGS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_and_scripts_are_known_by_servers_settings() {
        let roots = |text: &str| roots_of(text).iter().map(|root| root.display().to_string()).collect::<Vec<_>>();
        assert_eq!(
            roots("<VirtualHost *:80>\n DocumentRoot \"/opt/app/public\"\n Alias /x /home/u/app/\n</VirtualHost>"),
            ["/opt/app/public", "/home/u/app"]
        );
        assert_eq!(
            roots("server { listen 80;\n root /srv;\n alias /data/www/$host/x;\n}\nroot /;\nroot html;"),
            ["/srv", "/data/www"]
        );
        assert_eq!(roots("server.document-root = \"/www/a\"\n# root /x/y\nroot * /srv/site"), ["/www/a", "/srv/site"]);
        assert_eq!(
            served_as_scripts("AddType application/x-httpd-php .png JPG\nOptions x\nSetHandler y"),
            [".png", ".jpg", ""]
        );
        for name in ["a.php", "a.PHP3", "a.phtml", ".htaccess", "b.cgi"] {
            assert!(is_script(Path::new(name)), "{name}");
        }
        assert!(!is_script(Path::new("a.html")));
    }
}
