//! A batch whose standard output nobody reads stands still in the middle of a write, and hears no signal there. From beside it,
//! such a batch is ended all the same.

use std::time::Duration;

use super::client::Client;
use super::jobs::Jobs;
use super::session::Now;
use crate::error::Exit;
use crate::host::signals::{Asked, Signals};

/// How long a batch may take to end by itself once it was asked to: longer than it waits for a receipt.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long the service may take for the last calls, each.
const LAST_CALL: Duration = Duration::from_secs(2);

/// Ends the process some time after a signal, if it has not ended by itself.
pub(super) fn watch(client: Client, now: Now, jobs: Jobs) {
    // A thread and a runtime of its own: the other ones may be the ones that stand still.
    std::thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            let Ok(mut signals) = Signals::listen(false) else { return };
            let exit = match signals.next().await {
                Asked::HangUp => Exit::HungUp,
                Asked::Terminate => Exit::Terminated,
                Asked::Interrupt | Asked::Suspend => Exit::Cancelled,
            };
            tokio::time::sleep(PATIENCE).await;
            if let Some(session) = now.id() {
                let client = client.afresh();
                for job in jobs.running() {
                    let _ = tokio::time::timeout(LAST_CALL, client.cancel(&session, job.command())).await;
                }
                let _ = tokio::time::timeout(LAST_CALL, client.leave(&session)).await;
            }
            // Nothing is said: the screen is what stands still.
            std::process::exit(i32::from(exit.code()));
        });
    });
}
