//! Network isolation by nftables: a table of our own whose dropping rules hold only while an element is in a set. The kernel
//! takes the element away when its time is over, so that the isolation ends though nobody is left to end it.
//!
//! Rules are loaded by the device's own `nft`, in one transaction; that they are there, how long yet, and their end are
//! asked of the kernel itself ([`kernel`]): for that nothing of the device has to be trusted, or even there.

mod kernel;
mod nft;
mod ruleset;

use std::time::Duration;

use crate::agent::context::Stop;
use crate::agent::platform::Platform;
use crate::agent::platform::isolation::{Isolating, Isolation};
use crate::protocol::Problem;

/// The table, in each family that it is needed in.
const TABLE: &str = "lrsh_isolation";
/// How the name of the set begins; behind it the isolation's token.
const SET: &str = "cut_";

/// The isolation that is there, or its remains.
///
/// # Errors
/// When the kernel does not tell.
pub fn isolation() -> Result<Option<Isolation>, Problem> {
    kernel::isolation().map_err(|error| refused(&error))
}

/// Cuts this machine off, in place of any isolation there is. Answers with what ought to be known of it.
///
/// # Errors
/// When it cannot be: nothing has changed then.
pub fn isolate(device: &dyn Platform, isolating: &Isolating, stop: &Stop) -> Result<Vec<String>, Problem> {
    // Refused before anything is started: who may not look may not change either.
    isolation()?;
    let nft = nft::find(device, stop)?;
    let interfaces = interfaces();
    let mut notes = Vec::new();
    if let Err(with_egress) = nft::load(&nft, &ruleset::ruleset(isolating, &interfaces)) {
        // A kernel before 5.16 has no hook behind packet sockets.
        nft::load(&nft, &ruleset::ruleset(isolating, &[])).map_err(|_| with_egress)?;
        notes.push("what is sent through packet sockets is not held back: this kernel cannot".to_owned());
    } else {
        // Such a hook belongs to one interface; all others see every interface, whenever it appears.
        notes.push(
            "an interface that appears from now on is cut off too, but for packet sockets; isolate again then".to_owned(),
        );
    }
    match isolation()? {
        Some(Isolation { token, left: Some(_) }) if token == isolating.token => Ok(notes),
        _ => Err(Problem::new("not_isolated", format!("{} said that it isolates, and the kernel does not", nft.display()))),
    }
}

/// All filters of this machine, as `nft -j list ruleset` tells them.
///
/// # Errors
/// When there is no `nft`, or it does not tell.
pub fn filters(device: &dyn Platform, stop: &Stop) -> Result<Vec<u8>, Problem> {
    nft::list(&nft::find(device, stop)?)
}

/// Ends an isolation, and takes away what is left of one; whether there was one.
///
/// # Errors
/// When the kernel refuses.
pub fn release() -> Result<bool, Problem> {
    kernel::release().map_err(|error| refused(&error))
}

/// The interfaces that lead anywhere, as the process's own network namespace has them (proc_net(5)).
fn interfaces() -> Vec<String> {
    let table = std::fs::read("/proc/self/net/dev").unwrap_or_default();
    let names = table.split(|&byte| byte == b'\n').skip(2).filter_map(|line| {
        let name = line.split(|&byte| byte == b':').next()?;
        std::str::from_utf8(name).ok().map(|name| name.trim_start().to_owned())
    });
    names.filter(|name| !name.is_empty() && name != "lo").collect()
}

/// Whole seconds, rounded up: what `nft` takes.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

fn refused(error: &std::io::Error) -> Problem {
    use rustix::io::Errno;
    match Errno::from_io_error(error) {
        Some(Errno::PERM | Errno::ACCESS) => Problem::new(
            "permission_denied",
            "the network's filters are for root alone (CAP_NET_ADMIN), which the agent is not",
        ),
        Some(Errno::PROTONOSUPPORT | Errno::OPNOTSUPP | Errno::INVAL | Errno::AFNOSUPPORT) => {
            Problem::new("not_on_platform", format!("this kernel has no nftables: {error}"))
        }
        _ => Problem::new("io_error", format!("the kernel does not answer about the network's filters: {error}")),
    }
}
