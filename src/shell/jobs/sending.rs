//! Jobs of a line that are still to be sent: how many, and the word to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio_util::sync::CancellationToken;

/// How far the sending of several jobs is. Clones are the same.
#[derive(Clone)]
pub(in crate::shell) struct Sending {
    left: Arc<AtomicUsize>,
    stop: CancellationToken,
}

impl Sending {
    /// So many are to be sent.
    pub(in crate::shell) fn of(count: usize) -> Self {
        Self { left: Arc::new(AtomicUsize::new(count)), stop: CancellationToken::new() }
    }

    /// How many are still to be sent.
    pub(in crate::shell) fn left(&self) -> usize {
        if self.is_stopped() { 0 } else { self.left.load(Ordering::SeqCst) }
    }

    /// One was sent, or cannot be. How many are left.
    pub(in crate::shell) fn one_less(&self) -> usize {
        self.left.fetch_sub(1, Ordering::SeqCst).saturating_sub(1)
    }

    /// No more are to be sent. How many that leaves out.
    pub(in crate::shell) fn stop(&self) -> usize {
        let left = self.left();
        self.stop.cancel();
        left
    }

    pub(in crate::shell) fn is_stopped(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Waits for the word to stop.
    pub(in crate::shell) async fn stopped(&self) {
        self.stop.cancelled().await;
    }
}
