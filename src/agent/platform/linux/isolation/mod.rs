//! Network isolation by nftables: a table of our own whose dropping rules hold only while an element is in a set. The kernel
//! takes the element away when its time is over, so that the isolation ends though nobody is left to end it.
//!
//! Rules are loaded by the device's own `nft`, in one transaction, and hooked to each interface ([`hooks`]); that they are there,
//! how long yet, and their end are asked of the kernel itself ([`kernel`]): for that nothing of the device has to be trusted, or
//! even there.

mod expressions;
mod frames;
mod hooks;
mod kernel;
mod leaving;
mod links;
mod nft;
mod ruleset;

use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;

use crate::agent::context::Stop;
use crate::agent::path::key;
use crate::agent::platform::Platform;
use crate::agent::platform::isolation::{Isolating, Isolation};
use crate::protocol::Problem;
use crate::protocol::text::said;

/// The table, in each family that it is needed in.
const TABLE: &str = "lrsh_isolation";
/// What no filter of the network reaches, and what is let through so that a link stays one.
const BESIDE: &str = "not reached: what packet sockets hear; what XDP sockets, eBPF and tc send; root, who can end it. \
                      Short frames about the link itself (ARP, neighbours, DHCP by broadcast) go on";
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
    let (interfaces, on_link) = (links::interfaces().map_err(|error| refused(&error))?, links::on_link());
    let mut notes = through_tunnels(isolating)?;
    if let Err(with_frames) = nft::load(&nft, &ruleset::ruleset(isolating, &on_link, true)) {
        nft::load(&nft, &ruleset::ruleset(isolating, &on_link, false)).map_err(|_| with_frames)?;
        notes.push("what is sent through packet sockets is not held back: this device's nft cannot".to_owned());
    } else {
        notes.extend(hook(&interfaces));
    }
    notes.push(BESIDE.to_owned());
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

/// What is to be known of kept connections that come through tunnels: the tunnel itself would be cut off.
fn through_tunnels(isolating: &Isolating) -> Result<Vec<String>, Problem> {
    let mut notes = Vec::new();
    for kept in &isolating.keep {
        let Some(tunnel) = links::tunnel_of(kept.local.ip()).map_err(|error| refused(&error))? else { continue };
        let through = format!("the connection {kept} comes through the tunnel {}", key(Path::new(&tunnel)));
        if isolating.allow.is_empty() {
            let message = format!("{through}, which would be cut off; name the tunnel's other end: isolate -allow ADDRESS");
            return Err(Problem::new("own_way", message).about("allow"));
        }
        notes.push(format!("{through}, and lasts only if the tunnel's other end is among what is allowed"));
    }
    Ok(notes)
}

/// Puts the barrier behind packet sockets at each interface; what ought to be known of that.
fn hook(interfaces: &[links::Interface]) -> Vec<String> {
    let mut notes = Vec::new();
    for (number, interface) in interfaces.iter().enumerate() {
        match hooks::hook(number, interface).map_err(|error| (Errno::from_io_error(&error), error)) {
            Ok(()) => {}
            // It has gone meanwhile.
            Err(_) if links::interfaces().is_ok_and(|now| !now.contains(interface)) => {}
            Err((Some(Errno::OPNOTSUPP), _)) => {
                // A kernel before 5.16. What hangs at no hook does nothing.
                return vec!["what is sent through packet sockets is not held back: this kernel cannot".to_owned()];
            }
            Err((_, error)) => {
                let name = key(Path::new(&interface.name));
                notes.push(format!("what is sent through packet sockets is not held back on {name}: {}", said(&error)));
            }
        }
    }
    // Such a hook belongs to one interface; all others see every interface, whenever it appears.
    notes.push("an interface that appears from now on is cut off too, but for packet sockets; isolate again then".to_owned());
    notes
}

/// Whole seconds, rounded up: what `nft` takes.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

fn refused(error: &std::io::Error) -> Problem {
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
