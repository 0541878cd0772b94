//! What every process has open: of `/proc/PID/fd`, with the images and memory maps that are gone.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde_json::json;

use super::live;
use crate::agent::collect::{Gathered, Gatherer};
use crate::agent::path::{lossy, uri};
use crate::agent::platform::Folder;
use crate::protocol::Problem;

/// Of one process no more than so many.
const MAX_EACH: usize = 100_000;

pub(super) fn gather(to: &mut Gatherer) -> Gathered {
    live(to, "open files")?;
    let agent = std::sync::Arc::clone(&to.agent);
    let mut processes = agent.platform.processes(&to.stop)?;
    processes.sort_by_key(|process| process.pid);
    let proc =
        agent.root.open_folder(Path::new("/proc")).map_err(|error| crate::agent::path::problem(Path::new("/proc"), &error))?;
    let names = agent.accounts.names(&agent.root);
    let mut closed = 0;
    to.rows("open_files", |rows| {
        for process in &processes {
            let folder = Path::new("/proc").join(process.pid.to_string()).join("fd");
            let opened = proc.below(format!("{}/fd", process.pid).as_bytes());
            let Ok(opened) = opened else {
                closed += u32::from(!matches!(&opened, Err(error) if error.kind() == std::io::ErrorKind::NotFound));
                continue;
            };
            for number in agent.root.names(&folder, MAX_EACH).unwrap_or_default() {
                let Ok(name) = CString::new(number.as_bytes()) else { continue };
                let Ok(target) = Folder::read_link(&opened, &name) else { continue };
                let bytes = target.as_os_str().as_bytes();
                let deleted = bytes.ends_with(b" (deleted)");
                let kind = match bytes {
                    [b'/', ..] if bytes.starts_with(b"/memfd:") => "memory",
                    [b'/', ..] => "file",
                    _ if bytes.starts_with(b"socket:") => "socket",
                    _ if bytes.starts_with(b"pipe:") => "pipe",
                    _ => "other",
                };
                rows.row(&json!({
                    "pid": process.pid, "name": process.name, "user_name": names.user(process.uid),
                    "fd": number.to_str().and_then(|number| number.parse::<u32>().ok()), "type": kind, "path": lossy(&target),
                    "path_uri": uri(&target).filter(|_| kind == "file"), "deleted": deleted,
                }))?;
            }
        }
        Ok(())
    })?;
    if closed > 0 {
        let message = format!("{closed} processes do not tell the agent's user what they have open");
        to.problem(Problem::new("permission_denied", message))?;
    }
    Ok(())
}
