//! What is wrong with a batch is told before its first line runs: every error of every line, so that a script is never half
//! done for a slip in its last line.

use super::Shell;
use super::script::Sourced;
use crate::error::{Exit, Outcome};
use crate::grammar::{ErrorKind, Invocation, Role, read};
use crate::protocol::{Device, PlatformName};

/// How many kinds of device there are: a command that all of them have needs no look at the device.
const PLATFORMS: usize = 3;

/// Shows what is wrong with the lines. Done: they may run.
pub(super) async fn check(shell: &mut Shell, lines: &[Sourced]) -> Outcome<Exit> {
    // Most scripts hold nothing that depends on device or analyst, and then nobody is asked.
    let asks = lines.iter().any(|sourced| read(&sourced.line.text, None).invocation.as_ref().is_some_and(depends));
    let (known, failure) = match if asks { Facts::ask(shell).await } else { Ok(Facts::default()) } {
        Ok(facts) => (facts, None),
        Err(failure) => (Facts::default(), Some(failure)),
    };
    let mut exit = Exit::Done;
    let mut platform = known.platform(shell.device.as_deref());
    for sourced in lines {
        let text = &sourced.line.text;
        if shell.is_too_long(text, Some(&sourced.origin())) {
            exit = Exit::NotUnderstood;
            continue;
        }
        let mut reading = read(text, platform);
        if reading.is_empty() {
            continue;
        }
        if let Some(invocation) = &reading.invocation {
            if reading.diagnostics.is_empty() {
                reading.diagnostics.extend(invocation.obstacle(known.roles.as_deref()));
            }
            // The lines behind it are for another device.
            if matches!(invocation.row.name.as_str(), "connect" | "disconnect") {
                platform = known.platform(invocation.params.get("device").or(shell.device.as_ref()).map(String::as_str));
            }
        }
        shell.screen.diagnostics(text, Some(&sourced.origin()), &reading.told_of(text));
        exit = reading.diagnostics.iter().fold(exit, |exit, found| match found.kind {
            ErrorKind::Role => exit.or(Exit::Refused),
            // What was not understood outweighs what would be refused.
            _ => Exit::NotUnderstood,
        });
    }
    match failure {
        Some(failure) if exit.is_done() => Err(failure),
        _ => Ok(exit),
    }
}

/// Whether it depends on the device's kind or on the analyst's roles whether a line may run.
fn depends(invocation: &Invocation) -> bool {
    invocation.row.platforms.len() < PLATFORMS || invocation.role() != Role::Basic
}

/// What is known of devices and analyst before there is a session.
#[derive(Default)]
struct Facts {
    devices: Vec<Device>,
    roles: Option<Vec<String>>,
}

impl Facts {
    async fn ask(shell: &Shell) -> Outcome<Self> {
        let devices = shell.client.devices().await?;
        // Without an answer the service says at the line itself what it refuses.
        let roles = shell.client.analyst().await.ok().map(|analyst| analyst.roles);
        Ok(Self { devices, roles })
    }

    /// The kind of the device that has this name or id, or one that so begins; without one, of the only device there is.
    fn platform(&self, wanted: Option<&str>) -> Option<PlatformName> {
        let only = |fits: &dyn Fn(&Device) -> bool| match *self.devices.iter().filter(|device| fits(device)).collect::<Vec<_>>()
        {
            [device] => Some(device.platform),
            _ => None,
        };
        let Some(wanted) = wanted else { return only(&|_| true) };
        only(&|device| device.name == wanted || device.id == wanted)
            .or_else(|| only(&|device| device.name.starts_with(wanted) || device.id.starts_with(wanted)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::DeviceState;

    fn device(name: &str, id: &str, platform: PlatformName) -> Device {
        Device {
            id: id.into(),
            name: name.into(),
            platform,
            version: "1".into(),
            os: None,
            last_seen: jiff::Timestamp::UNIX_EPOCH,
            state: DeviceState::Online,
            tags: Vec::new(),
            root: None,
        }
    }

    #[test]
    fn the_platform_is_known_where_one_device_can_be_meant() {
        let (linux, windows) = (Some(PlatformName::Linux), Some(PlatformName::Windows));
        let mut facts = Facts { devices: vec![device("web", "ab1", PlatformName::Linux)], roles: None };
        assert_eq!(facts.platform(None), linux);
        facts.devices.push(device("web-2", "ab2", PlatformName::Windows));
        let check = |wanted, platform| assert_eq!(facts.platform(wanted), platform, "{wanted:?}");
        check(None, None);
        check(Some("web"), linux);
        check(Some("web-"), windows);
        check(Some("we"), None);
        check(Some("ab2"), windows);
        check(Some("ab"), None);
        check(Some("none"), None);
    }
}
