//! `findfile`: the files of a name, in a whole tree, told as they are found.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use crate::agent::context::{Context, VerbError, VerbResult};
use crate::agent::digest::sha256;
use crate::agent::filter::Filter;
use crate::agent::listing::{KEYS, Listing};
use crate::agent::path::problem;
use crate::agent::pattern::{Pattern, is_pattern};
use crate::agent::platform::{Entry, Facts, drive, open_content};
use crate::agent::walk::{Found, Place, Search, Tally, Walk};
use crate::protocol::{Problem, ProgressUnit};

/// How long to wait for finds before progress is told.
const PATIENCE: Duration = Duration::from_millis(20);

/// What a name or path must be.
enum Wanted {
    /// The base name, exactly.
    Name(Vec<u8>),
    /// The base name.
    NamePattern(Pattern),
    /// The path. A `*` matches slashes too, as in `find -path`.
    PathPattern(Pattern),
}

struct Finder {
    wanted: Wanted,
    filter: Filter,
}

pub(super) fn run(ctx: &mut Context) -> VerbResult {
    let wanted = match (ctx.required("name")?, ctx.agent.root.is_windows()) {
        (name, false) => Wanted::new(name, ctx.flag("ignore_case")),
        (name, true) => Wanted::on_windows(name),
    };
    let finder = Finder { wanted, filter: Filter::of(ctx)? };
    let limit = match ctx.param("limit") {
        Some(limit) => {
            limit.parse().map_err(|_| Problem::new("bad_value", format!("-limit {limit}: not a number")).about("limit"))?
        }
        None => u64::MAX,
    };
    let start = ctx.path(ctx.param("path").unwrap_or("/"));
    let root = std::sync::Arc::clone(&ctx.agent.root);
    let listing = Listing::new(ctx.agent.accounts.names(&root), Path::new("/"), false);
    let facts = root.facts(&start).map_err(|error| problem(&start, &error))?;
    let own = own(&start, facts, &finder);
    if !facts.is_folder() {
        ctx.table(KEYS)?;
        return tell(ctx, &listing, &own.into_iter().collect(), limit);
    }
    let base = root.open_folder(&start).map_err(|error| problem(&start, &error))?;
    ctx.table(KEYS)?;
    let walk = Walk::new(base, &start, Box::new(finder), ctx.stop.clone(), std::sync::Arc::clone(&ctx.meter));
    let walk = ctx.agent.walkers.start(ctx.command.session_id.clone(), walk);
    let mut found = own.into_iter().collect();
    loop {
        if let Err(error) = tell(ctx, &listing, &found, limit) {
            return Err(stopped(error, &walk.tally(), ctx.rows_told()));
        }
        if ctx.rows_told() >= limit {
            break;
        }
        let over;
        (found, over) = walk.take(PATIENCE);
        if found.is_empty() {
            if over {
                break;
            }
            ctx.flush()?;
        }
        let folders = walk.folders();
        let text = format!("{} found", ctx.rows_told());
        if let Err(error) = ctx.progress(folders, None, ProgressUnit::Folders, &text) {
            return Err(stopped(error, &walk.tally(), ctx.rows_told()));
        }
    }
    for problem in walk.tally().problems() {
        ctx.problem(problem);
    }
    Ok(())
}

fn tell(ctx: &mut Context, listing: &Listing, found: &std::collections::VecDeque<Found>, limit: u64) -> VerbResult {
    for one in found {
        if ctx.rows_told() >= limit {
            break;
        }
        match &one.facts {
            Ok(facts) => ctx.row(&listing.row(&one.path, facts, one.link_target.as_deref()))?,
            Err(why) => ctx.row(&listing.unreadable(&one.path, why.clone()))?,
        }
    }
    Ok(())
}

/// What a walk that was stopped has done.
fn stopped(error: VerbError, tally: &Tally, rows: u64) -> VerbError {
    match error {
        VerbError::Stopped { .. } => VerbError::Stopped {
            done: vec![format!("{} folders searched, {rows} files found", tally.folders)],
            not_done: vec!["the rest of the tree".into()],
        },
        failed @ VerbError::Failed(_) => failed,
    }
}

/// What the search begins at, if it is itself what is searched.
fn own(start: &Path, facts: Facts, finder: &Finder) -> Option<Found> {
    let name = start.file_name()?;
    let path = start.as_os_str().as_bytes();
    let parent = path.strip_suffix(name.as_bytes()).unwrap_or_default();
    let fits = finder.wanted.is(parent, name.as_bytes()) && finder.filter.admits(&facts) && finder.filter.sha256().is_none();
    fits.then(|| Found { path: path.to_vec(), facts: Ok(facts), link_target: None })
}

impl Wanted {
    fn new(text: &str, any_case: bool) -> Self {
        if text.contains('/') {
            let pattern = if text.starts_with('/') { text.to_owned() } else { format!("*/{text}") };
            Self::PathPattern(Pattern::new(&pattern, any_case))
        } else if any_case || is_pattern(text) {
            Self::NamePattern(Pattern::new(text, any_case))
        } else {
            Self::Name(text.as_bytes().to_vec())
        }
    }

    /// Any case, either slash, and a path from the drive on.
    fn on_windows(text: &str) -> Self {
        let text = text.replace('\\', "/");
        if !text.contains('/') {
            return Self::NamePattern(Pattern::new(&text, true));
        }
        let below = text.strip_prefix(drive::DRIVE).or(text.strip_prefix("c:")).unwrap_or(&text);
        let pattern = match below.strip_prefix('/') {
            Some(below) => drive::top().join(below).to_string_lossy().into_owned(),
            None => format!("*/{below}"),
        };
        Self::PathPattern(Pattern::new(&pattern, true))
    }

    fn is(&self, folder: &[u8], name: &[u8]) -> bool {
        match self {
            Self::Name(wanted) => wanted == name,
            Self::NamePattern(pattern) => pattern.matches(name),
            Self::PathPattern(pattern) => pattern.matches(&[folder, name].concat()),
        }
    }
}

impl Search for Finder {
    fn look(&self, place: &Place<'_>, entry: &Entry<'_>, found: &mut Vec<Found>) {
        let name = entry.name();
        if !self.wanted.is(place.path, name.to_bytes()) || self.filter.excludes(entry.kind()) {
            return;
        }
        let facts = place.folder.facts(name);
        match &facts {
            Ok(facts) if !self.filter.admits(facts) => return,
            // What cannot be told cannot be compared either; and what is gone is not found.
            Err(error) if self.filter.needs_facts() || error.kind() == std::io::ErrorKind::NotFound => return,
            _ => {}
        }
        if let Some(wanted) = self.filter.sha256()
            && content_hash(place, entry).as_deref() != Some(wanted)
        {
            return;
        }
        found.push(Found::new(place, entry, facts));
    }
}

/// The hash of a regular file's content; `None` when it cannot be read, or when the search is over meanwhile.
fn content_hash(place: &Place<'_>, entry: &Entry<'_>) -> Option<String> {
    let file = open_content(place.folder.fd(), entry.name()).ok()?;
    let size = file.metadata().ok().filter(std::fs::Metadata::is_file)?.len();
    sha256(&file, size, place.stop, place.meter).ok()?.ok().map(|(_, hash)| hash)
}
