//! Start-up items: XDG autostart, what shells and graphical sessions read, `rc.local` and the scripts of System V's init.

mod desktop;

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

pub use desktop::{DesktopEntry, parse};

use super::homes::{User, homes};
use super::root::Root;
use super::services::{scripts, strays};
use super::unseen::Unseen;
use crate::agent::context::{Stop, VerbError};
use crate::agent::digest::hex;
use crate::agent::path::reason;
use crate::agent::platform::service::StartType;
use crate::agent::platform::startup_item::{StartupItem, StartupKind};

/// The largest file that is read.
const MAX_FILE: u64 = 4 * 1024 * 1024;

const AUTOSTART: &str = "/etc/xdg/autostart";
const OWN_AUTOSTART: &str = ".config/autostart";
const PROFILE_D: &str = "/etc/profile.d";
const RC_LOCAL: [&str; 2] = ["/etc/rc.local", "/etc/rc.d/rc.local"];

/// What shells read for everybody.
const PROFILES: [&str; 16] = [
    "/etc/profile",
    "/etc/bash.bashrc",
    "/etc/bashrc",
    "/etc/bash.bash_logout",
    "/etc/zshenv",
    "/etc/zsh/zshenv",
    "/etc/zsh/zprofile",
    "/etc/zsh/zshrc",
    "/etc/zsh/zlogin",
    "/etc/zsh/zlogout",
    "/etc/csh.cshrc",
    "/etc/csh.login",
    "/etc/csh.logout",
    "/etc/ksh.kshrc",
    "/etc/mkshrc",
    "/etc/fish/config.fish",
];
/// What shells read in a home.
const OWN_PROFILES: [&str; 20] = [
    ".profile",
    ".bash_profile",
    ".bash_login",
    ".bashrc",
    ".bash_aliases",
    ".bash_logout",
    ".bash_completion",
    ".zshenv",
    ".zprofile",
    ".zshrc",
    ".zlogin",
    ".zlogout",
    ".kshrc",
    ".mkshrc",
    ".cshrc",
    ".tcshrc",
    ".login",
    ".logout",
    ".shinit",
    ".config/fish/config.fish",
];
/// What graphical sessions run for everybody: folders end with a slash.
const SESSIONS: [&str; 9] = [
    "/etc/X11/Xsession",
    "/etc/X11/Xsession.d/",
    "/etc/X11/xinit/xinitrc",
    "/etc/X11/xinit/xinitrc.d/",
    "/etc/X11/xdm/Xsession",
    "/etc/gdm3/PreSession/",
    "/etc/gdm3/PostLogin/",
    "/etc/xdg/openbox/autostart",
    "/etc/xdg/lxsession/LXDE/autostart",
];
/// The same in a home.
const OWN_SESSIONS: [&str; 11] = [
    ".xinitrc",
    ".xsession",
    ".xsessionrc",
    ".xprofile",
    ".Xclients",
    ".config/autostart-scripts/",
    ".config/plasma-workspace/env/",
    ".config/openbox/autostart",
    ".xserverrc",
    ".gnomerc",
    ".config/lxsession/LXDE/autostart",
];

/// All start-up items, and what could not be looked at.
///
/// # Errors
/// Only when told to stop: what cannot be read is said with the item it is about.
pub fn startup_items(root: &Root, stop: &Stop) -> Result<(Vec<StartupItem>, Unseen), VerbError> {
    let mut search = Search { root, found: Vec::new(), known: HashSet::new(), unseen: Unseen::default() };
    let homes = homes(root);
    search.desktop(&homes);
    for path in search.names(PROFILE_D) {
        // The shells' own profiles read these alone.
        let is_read = path.extension().is_some_and(|end| end == "sh" || end == "csh");
        search.script(path, StartupKind::ProfileD, None, |_| is_read);
    }
    for path in RC_LOCAL {
        search.script(PathBuf::from(path), StartupKind::RcLocal, None, |permissions| permissions & 0o111 != 0);
    }
    for path in PROFILES {
        search.script(PathBuf::from(path), StartupKind::ShellProfile, None, |_| true);
    }
    for path in search.names("/etc/fish/conf.d").into_iter().chain(search.names("/etc/bash_completion.d")) {
        search.script(path, StartupKind::ShellProfile, None, |_| true);
    }
    for place in SESSIONS {
        search.place(Path::new("/"), place, None);
    }
    for user in &homes {
        stop.check()?;
        for name in OWN_PROFILES {
            search.script(user.home.join(name), StartupKind::ShellFile, Some(user), |_| true);
        }
        for path in search.names(user.home.join(".config/fish/conf.d")) {
            search.script(path, StartupKind::ShellFile, Some(user), |_| true);
        }
        for place in OWN_SESSIONS {
            search.place(&user.home, place, Some(user));
        }
    }
    for (script, _) in scripts(root, stop)? {
        let Some(path) = script.file else { continue };
        search.script(path, StartupKind::Init, None, |_| script.start == StartType::Auto);
    }
    // What stands among the runlevels' links and is none runs with them.
    for path in strays(root) {
        search.script(path, StartupKind::Init, None, |permissions| permissions & 0o111 != 0);
    }
    Ok((search.found, search.unseen))
}

struct Search<'a> {
    root: &'a Root,
    found: Vec<StartupItem>,
    known: HashSet<PathBuf>,
    unseen: Unseen,
}

impl Search<'_> {
    fn names(&mut self, folder: impl AsRef<Path>) -> Vec<PathBuf> {
        self.unseen.paths(self.root, folder.as_ref())
    }

    fn place(&mut self, base: &Path, place: &str, user: Option<&User>) {
        let path = base.join(place.trim_start_matches('/'));
        if place.ends_with('/') {
            for path in self.names(&path) {
                self.script(path, StartupKind::Session, user, |_| true);
            }
        } else {
            self.script(path, StartupKind::Session, user, |_| true);
        }
    }

    /// An item that is the file itself; nothing where there is none.
    fn script(&mut self, path: PathBuf, category: StartupKind, user: Option<&User>, runs: impl Fn(u32) -> bool) {
        let Some((mut item, text)) = self.file(path, category, user) else { return };
        let permissions = self.root.facts(&item.file).map_or(0, |facts| facts.permissions);
        item.enabled = text.is_some() && runs(permissions);
        item.program = Some(item.file.to_string_lossy().into_owned());
        self.found.push(item);
    }

    fn file(&mut self, path: PathBuf, category: StartupKind, user: Option<&User>) -> Option<(StartupItem, Option<Vec<u8>>)> {
        let facts = match self.root.link_facts(&path) {
            Ok(facts) => facts,
            Err(error) => {
                self.unseen.closed(self.root, &path, &error);
                return None;
            }
        };
        if facts.is_folder() || !self.known.insert(path.clone()) {
            return None;
        }
        let mut item = StartupItem { category, user: user.map(|user| user.name.clone()), ..StartupItem::default() };
        item.modified = Some(self.root.facts(&path).unwrap_or(facts).modified);
        // `/dev/null` in the place of a file switches it off.
        let text = match self.root.read(&path, MAX_FILE) {
            Ok(text) => Some(text),
            Err(error) => {
                item.error = Some(reason(&error).1);
                None
            }
        };
        item.sha256 = text.as_deref().map(|text| hex(&Sha256::digest(text)));
        item.file = path;
        Some((item, text))
    }

    /// XDG autostart: the entries for everybody, then those of each home, which hide those of the same name for that user.
    fn desktop(&mut self, homes: &[User]) {
        let shared = self.names(AUTOSTART).into_iter().map(|path| (path, None));
        let own: Vec<_> = homes.iter().map(|user| (user, self.names(user.home.join(OWN_AUTOSTART)))).collect();
        let own = own.iter().flat_map(|(user, paths)| paths.iter().map(move |path| (path.clone(), Some(*user))));
        for (path, user) in shared.chain(own) {
            if path.extension() != Some(&OsString::from("desktop")) {
                continue;
            }
            let Some((mut item, text)) = self.file(path, StartupKind::Desktop, user) else { continue };
            if let Some(text) = text {
                let entry = parse(&text);
                item.enabled = entry.starts();
                item.program = entry.program();
                item.error = item.error.or_else(|| entry.wrong());
                item.command = entry.exec;
                item.only_show_in = entry.only_show_in;
            }
            self.found.push(item);
        }
    }
}
