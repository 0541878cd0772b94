//! What is mounted over a system, and containers that come back by themselves.

use serde_json::Value;

use super::{Told, each, short};

/// Folders that nothing is mounted over.
const OWN: [&str; 7] = ["/usr", "/bin", "/sbin", "/lib", "/etc", "/root", "/proc"];

/// Lines of fstab(5) that bring rights with them, that a program mounts, or that lie over the system's own folders.
#[must_use]
pub fn mounts_over(text: &str) -> Told {
    each(text, |line| {
        let mut words = line.split_whitespace();
        let (what, on, kind) = (words.next()?, words.next()?, words.next()?);
        let options: Vec<&str> = words.next().unwrap_or_default().split(',').collect();
        let has = |option: &str| options.contains(&option);
        let over = OWN.iter().any(|own| on.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
        let hides = over && (has("bind") || has("rbind") || matches!(kind, "overlay" | "tmpfs" | "fuse") || has("loop"));
        let is_program = kind.starts_with("fuse") && what.contains('#') || options.iter().any(|one| one.starts_with("helper="));
        (has("suid") || has("dev") || hides || is_program).then(|| line.to_owned())
    })
}

/// Of Docker's `hostconfig.json`: whether the container comes back by itself, and what it has of the device.
#[must_use]
pub fn container_restarts(text: &str) -> Told {
    let Ok(config) = serde_json::from_str::<Value>(text) else { return Told::new() };
    let policy = config.pointer("/RestartPolicy/Name").and_then(Value::as_str).unwrap_or_default();
    if matches!(policy, "" | "no") {
        return Told::new();
    }
    let binds = config.get("Binds").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let mut has: Vec<String> = binds.map(ToOwned::to_owned).collect();
    has.extend((config.get("Privileged") == Some(&Value::Bool(true))).then(|| "privileged".to_owned()));
    vec![(1, short(format!("restarts {policy} {}", has.join(" ")).trim_end()))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::platform::linux::persistence::lines::tests::check;

    #[test]
    fn mounts_and_containers_that_stand_out_are_told() {
        check(
            mounts_over,
            "UUID=1 / ext4 errors=remount-ro 0 1\n/tmp/x.img /mnt auto suid 0 0\n/opt/x /usr/bin none bind 0 0\nx#y /z fuse defaults\ntmpfs /tmp tmpfs nosuid,nodev",
            &[(2, "/tmp/x.img /mnt auto suid 0 0"), (3, "/opt/x /usr/bin none bind 0 0"), (4, "x#y /z fuse defaults")],
        );
        check(
            container_restarts,
            "{\"RestartPolicy\":{\"Name\":\"always\"},\"Binds\":[\"/:/host\"],\"Privileged\":true}",
            &[(1, "restarts always /:/host privileged")],
        );
        check(container_restarts, "{\"RestartPolicy\":{\"Name\":\"no\"}}", &[]);
        check(container_restarts, "{", &[]);
    }
}
