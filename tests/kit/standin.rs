//! A service of the test in the place of a home's own: shells of that home find it, and start none.

use std::path::Path;

use lrsh::host::start::Running;
use lrsh::protocol::PROTOCOL_VERSION;

/// The lock of a home's service, held by this test.
pub struct StandIn(std::fs::File);

impl StandIn {
    /// Shells of the home go to that socket from now on.
    pub fn take(home: &lrsh::host::Home, socket: &Path) -> Self {
        let folder = home.service();
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("start"), "").unwrap();
        let running = Running {
            socket: socket.to_owned(),
            pid: std::process::id(),
            protocol: PROTOCOL_VERSION,
            writable: false,
            top: None,
        };
        std::fs::write(folder.join("lock"), serde_json::to_string(&running).unwrap()).unwrap();
        let lock = std::fs::File::open(folder.join("lock")).unwrap();
        lock.lock().unwrap();
        Self(lock)
    }
}
