//! The verbs: one file a command, one line here. A test compares this list with the command table.

use super::context::{Context, VerbResult};

mod analyze;
mod cat;
mod cd;
mod collect;
mod connect;
mod connections;
mod dir;
mod drivers;
mod fileinfo;
mod findfile;
mod getfile;
mod isolate;
mod persistence;
mod processes;
mod putfile;
mod registry;
mod release;
mod remediate;
mod run;
mod scan;
mod scheduledtasks;
mod services;
mod startupfolders;
mod undo;

/// What carries a command out.
pub type Verb = fn(&mut Context) -> VerbResult;

/// Every verb by its canonical name, sorted.
pub const VERBS: &[(&str, Verb)] = &[
    ("analyze", analyze::run),
    ("cat", cat::run),
    ("cd", cd::run),
    ("collect", collect::run),
    ("connect", connect::run),
    ("connections", connections::run),
    ("dir", dir::run),
    ("drivers", drivers::run),
    ("fileinfo", fileinfo::run),
    ("findfile", findfile::run),
    ("getfile", getfile::run),
    ("isolate", isolate::run),
    ("persistence", persistence::run),
    ("processes", processes::run),
    ("putfile", putfile::run),
    ("registry", registry::run),
    ("release", release::run),
    ("remediate", remediate::run),
    ("run", run::run),
    ("scan", scan::run),
    ("scheduledtasks", scheduledtasks::run),
    ("services", services::run),
    ("startupfolders", startupfolders::run),
    ("undo", undo::run),
];

/// The verb of that name.
pub(super) fn find(name: &str) -> Option<Verb> {
    VERBS.binary_search_by_key(&name, |(name, _)| name).ok().and_then(|at| VERBS.get(at)).map(|(_, verb)| *verb)
}
