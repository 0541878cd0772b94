//! The part that every device has: the files that were changed last, the newest first. One walk that keeps the newest as it goes,
//! so that a file which is not told costs a look and nothing more.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::path::Path;
use std::sync::atomic::{self, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::gatherer::{Ended, Gathered, Gatherer};
use crate::agent::listing::Listing;
use crate::agent::path::problem;
use crate::agent::platform::Entry;
use crate::agent::walk::{Found, Place, Search, Walk};
use crate::protocol::Problem;

/// What counts as recent.
const SINCE: SignedDuration = SignedDuration::from_hours(7 * 24);
/// So many are told: on a machine that is being worked on there may be millions.
const MOST: usize = 50_000;
/// How long to wait for the walk before it is looked whether to stop.
const PATIENCE: Duration = Duration::from_millis(100);

/// Gathers them.
///
/// # Errors
/// When the top of the device cannot be opened, or nobody wants any more.
pub fn recent_files(to: &mut Gatherer) -> Gathered {
    let (agent, stop) = (Arc::clone(&to.agent), to.stop.clone());
    let top = agent.root.resolve("/", "/");
    let base = agent.root.open_folder(&top).map_err(|error| problem(&top, &error))?;
    let since = Timestamp::now().checked_sub(SINCE).unwrap_or(Timestamp::MIN);
    let newest = Arc::new(Newest::new(since, MOST));
    let walk = Walk::new(base, &top, Box::new(Looking(Arc::clone(&newest))), stop.clone(), Arc::clone(&to.meter));
    let walk = agent.walkers.start(to.command.session_id.clone(), walk);
    while !walk.take(PATIENCE).1 && !stop.asked() {}
    // The walk is given up at the end only: that waits for its threads, and one may hang in a file system that does not answer.
    let tally = walk.tally();
    let listing = Listing::new(agent.accounts.names(&agent.root), Path::new("/"), false);
    to.rows("recent_files", |rows| {
        for Changed { found, .. } in newest.take() {
            if let Ok(facts) = &found.facts {
                rows.row(&listing.row(&found.path, facts, found.link_target.as_deref()))?;
            }
        }
        Ok(())
    })?;
    let left_out = newest.left_out.load(atomic::Ordering::Relaxed);
    if left_out > 0 {
        let message = format!("{left_out} older ones of the last 7 days are left out: the {MOST} newest are there");
        to.problem(Problem::new("limit", message))?;
    }
    tally.problems().into_iter().try_for_each(|problem| to.problem(problem)).map_err(Ended::from)
}

/// A file and when it was changed, in the order of their telling: the oldest is the greatest.
struct Changed {
    at: i128,
    found: Found,
}

impl Ord for Changed {
    fn cmp(&self, other: &Self) -> Ordering {
        other.at.cmp(&self.at).then_with(|| self.found.path.cmp(&other.found.path))
    }
}

impl PartialOrd for Changed {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Changed {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Changed {}

/// The newest files so far.
struct Newest {
    since: i128,
    most: usize,
    kept: Mutex<BinaryHeap<Changed>>,
    left_out: AtomicU64,
}

impl Newest {
    fn new(since: Timestamp, most: usize) -> Self {
        Self { since: since.as_nanosecond(), most, kept: Mutex::default(), left_out: AtomicU64::new(0) }
    }

    fn kept(&self) -> MutexGuard<'_, BinaryHeap<Changed>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one of that age would be kept as things are.
    fn wants(&self, at: i128) -> bool {
        let kept = self.kept();
        kept.len() < self.most || kept.peek().is_some_and(|oldest| oldest.at < at)
    }

    fn keep(&self, changed: Changed) {
        let mut kept = self.kept();
        kept.push(changed);
        if kept.len() > self.most {
            kept.pop();
            self.leave_out();
        }
    }

    fn leave_out(&self) {
        self.left_out.fetch_add(1, atomic::Ordering::Relaxed);
    }

    fn take(&self) -> Vec<Changed> {
        std::mem::take(&mut *self.kept()).into_sorted_vec()
    }
}

/// What the walk is given: it keeps what it is shown, and tells nothing.
struct Looking(Arc<Newest>);

impl Search for Looking {
    fn look(&self, place: &Place<'_>, entry: &Entry<'_>, _found: &mut Vec<Found>) {
        let Ok(facts) = place.folder.facts(entry.name()) else { return };
        let at = facts.modified.ns();
        if at < self.0.since {
            return;
        }
        if self.0.wants(at) {
            self.0.keep(Changed { at, found: Found::new(place, entry, Ok(facts)) });
        } else {
            self.0.leave_out();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, FileTimes};
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::agent::context::{Meter, Stop};
    use crate::agent::platform::Root;
    use crate::agent::walk::WalkPool;
    use crate::protocol::SessionId;

    #[test]
    fn the_newest_are_kept_newest_first_and_the_rest_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        for hours in 1..=20_u64 {
            let inner = folder.path().join(format!("{:02}", hours % 3));
            std::fs::create_dir_all(&inner).unwrap();
            let file = File::create(inner.join(format!("{hours:02}"))).unwrap();
            file.set_times(FileTimes::new().set_modified(now - Duration::from_hours(hours))).unwrap();
        }
        for inner in ["00", "01", "02"] {
            let inner = File::open(folder.path().join(inner)).unwrap();
            inner.set_times(FileTimes::new().set_modified(now - Duration::from_secs(1_000_000))).unwrap();
        }
        let since = Timestamp::try_from(now - Duration::from_mins(630)).unwrap();
        let newest = Arc::new(Newest::new(since, 4));
        let base = Root::at(folder.path()).unwrap().open_folder(Path::new("/")).unwrap();
        let looking = Box::new(Looking(Arc::clone(&newest)));
        let walk = Walk::new(base, Path::new("/"), looking, Stop::default(), Arc::new(Meter::default()));
        let walk = WalkPool::default().start(SessionId::new(), walk);
        while !walk.take(PATIENCE).1 {}
        let told: Vec<Vec<u8>> = newest.take().into_iter().map(|changed| changed.found.path).collect();
        assert_eq!(told, ["/01/01", "/02/02", "/00/03", "/01/04"].map(|path| path.as_bytes().to_vec()));
        assert_eq!(newest.left_out.load(atomic::Ordering::Relaxed), 6, "of ten that are new enough");
    }
}
