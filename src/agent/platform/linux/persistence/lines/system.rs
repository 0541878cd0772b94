//! What the kernel, the boot, the mail and other services are told to run.

use super::{Told, directive, each};

/// Settings of sysctl.d(5) that name a program for the kernel.
#[must_use]
pub fn kernel_programs(text: &str) -> Told {
    const KEYS: [&str; 4] = ["core_pattern", "modprobe", "hotplug", "poweroff_cmd"];
    each(text, |line| {
        let (key, value) = line.trim_start_matches('-').split_once('=')?;
        let (key, value) = (key.trim().replace('/', "."), value.trim());
        // A key may be a pattern.
        let is_pattern = key.contains(['*', '?', '[']);
        if is_pattern && value.starts_with(['|', '/']) {
            return Some(line.to_owned());
        }
        let name = key.strip_prefix("kernel.")?;
        let runs = KEYS.contains(&name) && (name != "core_pattern" || value.starts_with('|'));
        runs.then(|| line.to_owned())
    })
}

/// Lines of tmpfiles.d(5) that write, link or copy to where something is run or read as settings.
#[must_use]
pub fn written_at_boot(text: &str) -> Told {
    const TO: [&str; 18] = [
        "/etc/",
        "/root/",
        "/home/",
        "/usr/",
        "/bin/",
        "/sbin/",
        "/lib",
        "/opt/",
        "/boot/",
        "/var/spool/",
        "/var/www/",
        "/proc/sys/",
        "/sys/",
        "/run/systemd/system",
        "/run/systemd/user",
        "/run/udev/",
        "/run/tmpfiles.d/",
        "/run/sysctl.d/",
    ];
    /// Files that nobody else may read.
    const SECRET: [&str; 4] = ["/etc/shadow", "/etc/gshadow", "/etc/sudoers", "/root"];
    each(text, |line| {
        let mut words = line.split_whitespace();
        let (kind, path, mode) = (words.next()?, words.next()?.trim_matches(['"', '\'']), words.next().unwrap_or_default());
        let to = TO.iter().any(|folder| path.starts_with(folder));
        let makes = to && kind.starts_with(['w', 'f', 'F', 'C', 'L', 'a', 'A']);
        let gives = kind.starts_with(['t', 'T']) && line.contains("security.");
        let digits = mode.trim_start_matches(['~', ':']);
        let sets = kind.starts_with(['f', 'F', 'z', 'Z', 'm', 'C', 'd', 'D']);
        let is_setuid = digits.len() == 4 && digits.starts_with(['2', '4', '6']) && sets && !kind.starts_with(['d', 'D']);
        let is_open = to && digits.ends_with(['2', '3', '6', '7']) && digits.len() >= 3;
        let is_read = !digits.ends_with('0') && digits.len() >= 3 && SECRET.iter().any(|secret| path.starts_with(secret));
        (makes || gives || is_setuid || (sets && (is_open || is_read))).then(|| line.to_owned())
    })
}

/// Lines of a boot loader's settings that have the kernel start something else than init.
#[must_use]
pub fn boot_parameters(text: &str) -> Told {
    const NAMES: [&str; 6] = ["init=", "rdinit=", "systemd.run=", "systemd.wants=", "systemd.unit=", "systemd.debug_shell"];
    each(text, |line| {
        let mut words = line.split(|letter: char| letter.is_whitespace() || matches!(letter, '"' | '\''));
        words.any(|word| NAMES.iter().any(|name| word.starts_with(name))).then(|| line.to_owned())
    })
}

/// Lines of a file of settings that a shell reads which do more than set a variable.
#[must_use]
pub fn shell_commands(text: &str) -> Told {
    let mut quoted = false;
    each(text, |line| {
        // A value may go on over lines.
        let was_quoted = quoted;
        quoted ^= line.matches('"').count() % 2 == 1;
        if was_quoted {
            return None;
        }
        let bare = line.strip_prefix("export ").unwrap_or(line);
        let value = bare.split_once('=').filter(|(name, _)| {
            let name = name.trim_end_matches('+');
            !name.is_empty() && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
        });
        let Some((name, value)) = value else { return Some(line.to_owned()) };
        // Debian's own way to name itself.
        let runs = (value.contains("$(") || value.contains('`')) && name != "GRUB_DISTRIBUTOR";
        let outside = value.rsplit(['"', '\'']).next().unwrap_or_default();
        let goes_on = !outside.trim_start().starts_with('#') && outside.contains([';', '&', '|']) && !was_quoted;
        let second =
            value.trim_start_matches(['"', '\'']) == value && value.split('#').next().unwrap_or_default().trim().contains(' ');
        (runs || goes_on || second).then(|| line.to_owned())
    })
}

/// Addresses of aliases(5) and `.forward` that are programs or lists in files.
#[must_use]
pub fn mail_pipes(text: &str) -> Told {
    each(text, |line| (line.contains('|') || line.contains(":include:")).then(|| line.to_owned()))
}

/// Actions of procmailrc(5) that are programs.
#[must_use]
pub fn procmail_pipes(text: &str) -> Told {
    each(text, |line| (line.starts_with('|') || line.contains('`') || line.starts_with("TRAP")).then(|| line.to_owned()))
}

/// Scripts and programs that a display manager names.
#[must_use]
pub fn display_scripts(text: &str) -> Told {
    each(text, |line| {
        let (key, value) = directive(line)?;
        let runs = key.ends_with("-script") || key.ends_with("-wrapper") || key == "xserver-command";
        (runs && !value.is_empty()).then(|| line.to_owned())
    })
}

/// Other names and companions of modules, by which one is loaded for another.
#[must_use]
pub fn module_aliases(text: &str) -> Told {
    each(text, |line| {
        let (key, value) = directive(line)?;
        let off = value.ends_with(" off") || value.ends_with(" null");
        (matches!(key.as_str(), "alias" | "softdep") && !off).then(|| line.to_owned())
    })
}

/// Directives of monitoring, audit, mail and storage services that name a program.
#[must_use]
pub fn named_programs(text: &str) -> Told {
    const KEYS: [&str; 10] =
        ["path", "extend", "exec", "pass", "pass_persist", "program", "execd", "dynamic_path", "module", "run-shell"];
    each(text, |line| {
        let (key, value) = directive(line)?;
        let named = KEYS.contains(&key.as_str()) && !value.is_empty();
        let given = ["keyscript=", "-M exec", "argv=", "if-shell "].iter().any(|given| line.contains(given));
        (named || given).then(|| line.to_owned())
    })
}

/// Commands that an editor runs as it starts.
#[must_use]
pub fn editor_commands(text: &str) -> Told {
    const RUNS: [&str; 6] = ["system(", "shell-command", "call-process", "start-process", "jobstart(", "os.execute("];
    each(text, |line| {
        let bang = !line.starts_with('"') && (line.starts_with('!') || line.contains(" !") || line.contains(":!"));
        (bang || RUNS.iter().any(|way| line.contains(way))).then(|| line.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::platform::linux::persistence::lines::tests::check;

    #[test]
    fn lines_that_name_a_program_are_told() {
        check(
            kernel_programs,
            "kernel.core_pattern=core\n-kernel/core_pattern = |/tmp/x\nkernel.modprobe=/y\nvm.x=1",
            &[(2, "-kernel/core_pattern = |/tmp/x"), (3, "kernel.modprobe=/y")],
        );
        check(
            written_at_boot,
            "d /run/x 0755\nw /proc/sys/kernel/core_pattern - - - - |/x\nf /run/y 0644\nL+ /etc/cron.d/x - - - - /opt/x\nz /opt/x 4755",
            &[(2, "w /proc/sys/kernel/core_pattern - - - - |/x"), (4, "L+ /etc/cron.d/x - - - - /opt/x"), (5, "z /opt/x 4755")],
        );
        let told = |line: &str| !written_at_boot(line).is_empty();
        for line in [
            "L+ /run/systemd/system/r.service - - - - /tmp/x",
            "f /run/udev/rules.d/1.rules - - - - RUN",
            "w+ /sys/kernel/uevent_helper - - - - /tmp/x",
            "z /etc/shadow 0666",
            "z /etc/shadow 0644 root root",
            "a+ /etc/shadow - - - - u:a:rw",
            "t /opt/x - - - - security.capability=0x1",
            "d /etc/cron.d 0777",
        ] {
            assert!(told(line), "{line}");
        }
        for line in [
            "d /tmp 1777",
            "z /etc/passwd 0644",
            "a+ /var/log/journal - - - - g:adm:r-x",
            "L /run/lock - - - - /x",
            "d /var/lib/x",
        ] {
            assert!(!told(line), "{line}");
        }
        check(kernel_programs, "kernel.*pattern=|/tmp/5\nnet.ipv4.conf.*.rp_filter=1", &[(1, "kernel.*pattern=|/tmp/5")]);
        check(
            boot_parameters,
            "GRUB_CMDLINE_LINUX=\"quiet init=/tmp/x\"\nlinux /vmlinuz root=/dev/sda1 ro\n# init=/y\ninitrd /initrd.img",
            &[(1, "GRUB_CMDLINE_LINUX=\"quiet init=/tmp/x\"")],
        );
        check(
            shell_commands,
            "A=1\nexport B=\"x y\" # c\nC=\"one\ntwo\"\n/tmp/x &\nD=`/tmp/y`\nE=\"\"; /tmp/z\nF=1 /tmp/w\nG=a,b",
            &[(5, "/tmp/x &"), (6, "D=`/tmp/y`"), (7, "E=\"\"; /tmp/z"), (8, "F=1 /tmp/w")],
        );
        check(mail_pipes, "root: bob\nx: \"|/tmp/x\"\ny: :include:/tmp/y", &[(2, "x: \"|/tmp/x\""), (3, "y: :include:/tmp/y")]);
        check(procmail_pipes, ":0\n| /tmp/x\n* ^From: a|b", &[(2, "| /tmp/x")]);
        check(display_scripts, "[Seat:*]\nsession-setup-script=/x\nuser-session=y", &[(2, "session-setup-script=/x")]);
        check(
            module_aliases,
            "alias net-pf-10 evil\nalias a off\nsoftdep ext4 pre: evil\noptions x y",
            &[(1, "alias net-pf-10 evil"), (3, "softdep ext4 pre: evil")],
        );
        check(
            named_programs,
            "active = yes\npath = /tmp/x\nextend y /z\nd none keyscript=/k",
            &[(2, "path = /tmp/x"), (3, "extend y /z"), (4, "d none keyscript=/k")],
        );
        check(
            editor_commands,
            "\" a ! b\nset x\nau VimEnter * !/tmp/x\ncall system('y')",
            &[(3, "au VimEnter * !/tmp/x"), (4, "call system('y')")],
        );
    }
}
