//! What a file's attributes give to a process that runs it: `security.capability`, after capabilities(7) and `include/uapi/linux/capability.h`.

use std::fmt::Write as _;

/// The capabilities by number.
const NAMES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// The attribute as `getcap` writes it: `cap_net_raw=ep`; `None` when it is not one.
#[must_use]
pub fn capabilities(attribute: &[u8]) -> Option<String> {
    let word = |at: usize| Some(u32::from_le_bytes(attribute.get(at..at + 4)?.try_into().ok()?));
    let magic = word(0)?;
    let version = magic >> 24;
    let effective = magic & 1 != 0;
    let (mut permitted, mut inheritable) = (u64::from(word(4)?), u64::from(word(8)?));
    if matches!(version, 2 | 3) {
        permitted |= u64::from(word(12)?) << 32;
        inheritable |= u64::from(word(16)?) << 32;
    } else if version != 1 {
        return None;
    }
    let mut text = String::new();
    for (with_permitted, with_inheritable) in [(true, true), (true, false), (false, true)] {
        let has =
            |bit: usize| (permitted >> bit & 1 != 0) == with_permitted && (inheritable >> bit & 1 != 0) == with_inheritable;
        let names: Vec<String> = (0..64).filter(|&bit| has(bit)).map(name).collect();
        if names.is_empty() {
            continue;
        }
        let flags = [(effective, 'e'), (with_inheritable, 'i'), (with_permitted, 'p')];
        let flags: String = flags.iter().filter_map(|(is, letter)| is.then_some(*letter)).collect();
        let _ = write!(text, "{}{}={flags}", if text.is_empty() { "" } else { " " }, names.join(","));
    }
    if let (3, Some(root)) = (version, word(20).filter(|&root| root != 0)) {
        let _ = write!(text, " [rootid={root}]");
    }
    Some(text)
}

fn name(bit: usize) -> String {
    NAMES.get(bit).map_or_else(|| format!("{bit}"), |name| format!("cap_{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_read_as_getcap_writes_them() {
        let attribute = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        let check =
            |words: &[u32], text: Option<&str>| assert_eq!(capabilities(&attribute(words)).as_deref(), text, "{words:?}");
        check(&[0x0200_0001, 1 << 13, 0, 0, 0], Some("cap_net_raw=ep"));
        check(&[0x0200_0000, 1 << 13 | 1 << 7, 0, 1 << 7, 0], Some("cap_setuid,cap_net_raw,cap_bpf=p"));
        check(&[0x0200_0001, 1, 3, 0, 0], Some("cap_chown=eip cap_dac_override=ei"));
        check(&[0x0300_0001, 1, 0, 0, 0, 1000], Some("cap_chown=ep [rootid=1000]"));
        check(&[0x0100_0001, 1, 0], Some("cap_chown=ep"));
        check(&[0x0200_0001, 1, 0], None);
        check(&[0x0900_0001, 1, 0, 0, 0], None);
        check(&[], None);
    }
}
