//! Accounts of the system's own users that somebody can work with: they have a password and a shell, and are there for neither.

use std::collections::HashMap;
use std::path::Path;

use super::lines::is_login;
use super::{MAX_TEXT, Search};
use crate::agent::context::VerbResult;
use crate::agent::platform::linux::passwd;
use crate::agent::platform::startup_item::Persistent;

const SHADOW: &str = "/etc/shadow";
/// The numbers below which users are the system's.
const SYSTEM: u32 = 1000;

/// Adds the lines of shadow(5) that give a password to a user of the system.
pub(super) fn accounts(search: &mut Search<'_>) -> VerbResult {
    let users: HashMap<String, String> = passwd::entries(search.root)
        .into_iter()
        .filter(|user| (1..SYSTEM).contains(&user.uid) && is_login(&user.shell))
        .map(|user| (user.name, user.shell))
        .collect();
    let Ok(text) = search.root.read(Path::new(SHADOW), MAX_TEXT) else { return Ok(()) };
    for (number, line) in (1..).zip(String::from_utf8_lossy(&text).lines()) {
        search.stop.check()?;
        let mut fields = line.split(':');
        let (name, password) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        let Some(shell) = users.get(name).filter(|_| is_hash(password)) else { continue };
        let entry = search.entry("privileges", "T1098", Path::new(SHADOW));
        let runs = format!("{name} of the system has a password and a shell ({shell})");
        search.found.push(Persistent { line: Some(number), runs: Some(runs), shipped: Some(false), ..entry });
    }
    Ok(())
}

/// Whether a password can be given: what is locked or was never set begins otherwise.
fn is_hash(password: &str) -> bool {
    !password.is_empty() && !password.starts_with(['!', '*', 'x', 'X'])
}
