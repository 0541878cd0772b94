//! The shells of a session: who is attached, who is about to be, and who has left.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// A shell that has opened a session is given so long to open its event stream; so are those that were attached when the
/// service died.
const PATIENCE: Duration = Duration::from_secs(10);

/// The shells of a session, by the names they gave themselves.
#[derive(Default)]
pub(super) struct Shells {
    by_name: HashMap<String, Shell>,
    /// The session was found open by a service that has just started: nobody knows who is about to come back to it.
    reopened: Option<Instant>,
    is_closed: bool,
}

#[derive(Default)]
struct Shell {
    /// Its open event streams.
    streams: u32,
    pid: Option<u32>,
    /// It has opened or found the session, and its stream is still to come.
    expected: Option<Instant>,
    /// It has left in order; what is still open of it only has not been closed yet.
    has_left: bool,
}

impl Shell {
    fn is_here(&self) -> bool {
        let is_expected = self.expected.is_some_and(|since| since.elapsed() < PATIENCE);
        !self.has_left && (self.streams > 0 || is_expected)
    }
}

impl Shells {
    /// The shells of a session that has outlived its service.
    pub(super) fn reopened() -> Self {
        Self { reopened: Some(Instant::now()), ..Self::default() }
    }

    /// A shell comes in: from now on it counts. `false` when the session is closed.
    pub(super) fn expect(&mut self, name: &str, pid: Option<u32>) -> bool {
        if self.is_closed {
            return false;
        }
        self.by_name.retain(|_, shell| shell.streams > 0 || shell.is_here());
        let shell = self.by_name.entry(name.to_owned()).or_default();
        shell.expected = Some(Instant::now());
        shell.pid = pid.or(shell.pid);
        shell.has_left = false;
        true
    }

    /// A shell opens an event stream. Whether it is its first.
    pub(super) fn attach(&mut self, name: &str, pid: Option<u32>) -> bool {
        let shell = self.by_name.entry(name.to_owned()).or_default();
        shell.streams += 1;
        shell.pid = pid.or(shell.pid);
        shell.expected = None;
        shell.has_left = false;
        shell.streams == 1
    }

    /// An event stream of a shell ends. Whether it was its last.
    pub(super) fn detach(&mut self, name: &str) -> bool {
        let Some(shell) = self.by_name.get_mut(name) else { return false };
        shell.streams = shell.streams.saturating_sub(1);
        shell.streams == 0 && self.by_name.remove(name).is_some()
    }

    /// How many are attached, but for one.
    pub(super) fn others(&self, but: Option<&str>) -> u32 {
        let others = self.by_name.iter().filter(|(name, shell)| shell.is_here() && Some(name.as_str()) != but).count();
        u32::try_from(others).unwrap_or(u32::MAX)
    }

    /// A shell leaves in order. How many stay, with one for those that may come back.
    pub(super) fn leave(&mut self, name: Option<&str>) -> u32 {
        if let Some(shell) = name.and_then(|name| self.by_name.get_mut(name)) {
            shell.has_left = true;
        }
        let may_come_back = self.reopened.is_some_and(|since| since.elapsed() < PATIENCE);
        self.others(name) + u32::from(may_come_back)
    }

    /// Nobody comes in any more. `false` when it was so before.
    pub(super) fn close(&mut self) -> bool {
        !std::mem::replace(&mut self.is_closed, true)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// The processes of those that are attached.
    pub(super) fn pids(&self) -> Vec<u32> {
        self.by_name.values().filter(|shell| shell.is_here()).filter_map(|shell| shell.pid).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_to_leave_is_known_though_streams_end_later() {
        let mut shells = Shells::default();
        assert!(shells.expect("a", None));
        assert!(shells.attach("a", Some(1)));
        assert!(shells.expect("b", Some(2)), "its stream is still to come, and it counts");
        let mut pids = shells.pids();
        pids.sort_unstable();
        assert_eq!(pids, [1, 2]);
        assert_eq!((shells.others(Some("a")), shells.others(None)), (1, 2));
        assert_eq!(shells.leave(Some("a")), 1);
        assert!(shells.attach("b", Some(2)));
        assert_eq!(shells.pids(), [2]);
        assert_eq!(shells.leave(Some("b")), 0, "a has left, though its stream is open");
        assert!(shells.close() && !shells.close());
        assert!(!shells.expect("c", None));
        assert!(shells.detach("a") && shells.detach("b"));
    }

    #[test]
    fn who_leaves_right_after_a_start_may_not_be_the_last() {
        let mut shells = Shells::reopened();
        assert!(shells.attach("a", None));
        assert_eq!((shells.others(Some("a")), shells.leave(Some("a"))), (0, 1));
    }
}
