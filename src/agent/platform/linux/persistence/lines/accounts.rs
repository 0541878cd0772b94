//! Accounts and what gives them rights: passwd(5), shadow(5), pam.d(5), sudoers(5), sudo.conf(5).

use super::{MAX_INCLUDES, PRELOADS, Told, all_of, directive, each, each_of, has_odd_path, joined, numbered};
use crate::agent::platform::linux::sudoers::{self, Include};

/// Accounts beside root that are root, and those that anybody can take.
#[must_use]
pub fn accounts(text: &str) -> Told {
    each(text, |line| {
        let mut fields = line.split(':');
        let (name, password) = (fields.next()?, fields.next()?);
        let (uid, gid) = (fields.next()?, fields.next().unwrap_or_default());
        let shell = fields.nth(2).unwrap_or_default();
        if uid.parse() == Ok(0_u32) && name != "root" {
            return Some(format!("{name} is user 0 ({shell})"));
        }
        let group = gid.parse().ok().and_then(|gid: u32| POWERFUL_NUMBERS.iter().find(|(number, _)| *number == gid));
        if let Some((_, group)) = group.filter(|_| name != "root" && is_login(shell)) {
            return Some(format!("{name} in the group {group} ({shell})"));
        }
        password.is_empty().then(|| format!("{name} has no password ({shell})"))
    })
}

/// Whether somebody can work in a shell; those of systems are there to do one thing.
#[must_use]
pub fn is_login(shell: &str) -> bool {
    !["nologin", "false", "sync", "shutdown", "halt"].contains(&shell.rsplit('/').next().unwrap_or_default())
}

/// Members that packages bring.
const USUAL_MEMBERS: [&str; 5] = ["", "root", "syslog", "logcheck", "libvirt-qemu"];

/// Groups whose members may become root, or read what is root's.
const POWERFUL: [&str; 14] = [
    "root",
    "sudo",
    "wheel",
    "admin",
    "shadow",
    "disk",
    "docker",
    "lxd",
    "incus",
    "incus-admin",
    "libvirt",
    "podman",
    "adm",
    "kmem",
];
/// The numbers of those that have the same everywhere.
const POWERFUL_NUMBERS: [(u32, &str); 3] = [(0, "root"), (6, "disk"), (42, "shadow")];

/// Members of group(5) by whose group they have rights of root, or read what is root's.
#[must_use]
pub fn powerful_groups(text: &str) -> Told {
    each(text, |line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| POWERFUL.contains(name))?;
        let members = fields.nth(2)?.split(',').map(str::trim).filter(|member| !USUAL_MEMBERS.contains(member));
        let members = members.collect::<Vec<_>>().join(", ");
        (!members.is_empty()).then(|| format!("{members} in the group {name}"))
    })
}

/// Accounts of shadow(5) that anybody can take.
#[must_use]
pub fn passwordless(text: &str) -> Told {
    each(text, |line| {
        let mut fields = line.split(':');
        let (name, password) = (fields.next()?, fields.next()?);
        (password.is_empty() && !name.is_empty()).then(|| format!("{name} has no password"))
    })
}

/// Lines of pam.d(5) that run a program, let everybody in, or take a module or a file from where none belong.
#[must_use]
pub fn pam_commands(text: &str) -> Told {
    each_of(joined(text, true).into_iter(), |line| {
        let bare = line.split('#').next().unwrap_or_default().trim();
        if let Some(file) = bare.strip_prefix("@include") {
            return file.contains('/').then(|| line.to_owned());
        }
        let rule = rule_of(bare)?;
        if matches!(rule.control, "include" | "substack") {
            return rule.module.contains('/').then(|| line.to_owned());
        }
        let is = |names: &[&str]| {
            let name = rule.module.rsplit('/').next().unwrap_or_default();
            names.iter().any(|known| name.strip_prefix(known).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric)))
        };
        let runs = is(&["pam_exec", "pam_script", "pam_python", "pam_lua"]);
        let given = |name: &str| rule.arguments.split_whitespace().find_map(|argument| argument.strip_prefix(name));
        let asks_nothing = is(&ASKS_NOTHING) || (is(&["pam_wheel"]) && rule.arguments.contains("trust"));
        let lets_in = rule.kind == "auth" && ((asks_nothing && rule.goes_on()) || rule.forgives());
        let reads = (is(&["pam_userdb"]) && given("db=").is_some())
            || (is(&["pam_env"])
                && [given("envfile="), given("conffile=")].into_iter().flatten().any(|file| !file.starts_with("/etc/")));
        (runs || lets_in || reads || !is_installed(rule.module)).then(|| line.to_owned())
    })
}

/// Modules that ask the user for nothing: whom they let pass has shown nothing.
const ASKS_NOTHING: [&str; 16] = [
    "pam_access",
    "pam_debug",
    "pam_echo",
    "pam_env",
    "pam_group",
    "pam_lastlog",
    "pam_listfile",
    "pam_localuser",
    "pam_nologin",
    "pam_permit",
    "pam_rhosts",
    "pam_securetty",
    "pam_shells",
    "pam_succeed_if",
    "pam_time",
    "pam_warn",
];

/// A line of pam.d(5).
struct Rule<'a> {
    kind: String,
    control: &'a str,
    module: &'a str,
    arguments: &'a str,
}

impl Rule<'_> {
    /// Whether its success ends the questions, or leaps over some.
    fn goes_on(&self) -> bool {
        let leaps = |action: &str| action == "done" || action.starts_with(|letter: char| letter.is_ascii_digit());
        self.control.eq_ignore_ascii_case("sufficient")
            || self.actions().any(|(result, action)| matches!(result, "success" | "default") && leaps(action))
    }

    /// Whether its failure counts as success.
    fn forgives(&self) -> bool {
        const FAILURES: [&str; 5] = ["default", "auth_err", "user_unknown", "perm_denied", "authinfo_unavail"];
        self.actions().any(|(result, action)| FAILURES.contains(&result) && matches!(action, "ok" | "done"))
    }

    /// What follows which result, where it is written out.
    fn actions(&self) -> impl Iterator<Item = (&str, &str)> {
        let inside = self.control.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or_default();
        inside.split_whitespace().filter_map(|one| one.split_once('='))
    }
}

/// Reads a rule; one of pam.conf(5) has the service in front.
fn rule_of(line: &str) -> Option<Rule<'_>> {
    let is_kind = |word: &str| matches!(word, "auth" | "account" | "password" | "session");
    let first = |line: &str| line.split_whitespace().next().unwrap_or_default().trim_start_matches('-').to_ascii_lowercase();
    let behind = |line: &str| line.find(char::is_whitespace).unwrap_or(line.len());
    let mut rest = line;
    if !is_kind(&first(rest)) {
        rest = rest.get(behind(rest)..)?.trim_start();
    }
    let kind = first(rest);
    if !is_kind(&kind) {
        return None;
    }
    rest = rest.get(behind(rest)..)?.trim_start();
    let end = if rest.starts_with('[') { rest.find(']')? + 1 } else { behind(rest) };
    let control = rest.get(..end)?;
    let rest = rest.get(end..)?.trim_start();
    let (module, arguments) = rest.split_at(behind(rest));
    (!module.is_empty()).then_some(Rule { kind, control, module, arguments })
}

/// Whether a module is named as it lies in one of the folders that are PAM's own.
fn is_installed(module: &str) -> bool {
    let Some((folder, _)) = module.rsplit_once('/') else { return true };
    let Some(above) = folder.strip_suffix("/security") else { return false };
    let parts: Vec<&str> = above.split('/').skip(1).collect();
    let parts = parts.strip_prefix(&["usr"]).unwrap_or(&parts);
    above.starts_with('/') && matches!(parts, ["lib" | "lib32" | "lib64"] | ["lib", _]) && !parts.contains(&"..")
}

/// The files of rules that another one takes in.
#[must_use]
pub fn pam_includes(text: &str) -> Vec<String> {
    let of_line = |(_, line): (u32, String)| {
        let line = line.split('#').next().unwrap_or_default().trim().to_owned();
        match line.strip_prefix("@include") {
            Some(file) => Some(file.trim().to_owned()),
            None => {
                rule_of(&line).filter(|rule| matches!(rule.control, "include" | "substack")).map(|rule| rule.module.to_owned())
            }
        }
    };
    joined(text, true).into_iter().filter_map(of_line).take(MAX_INCLUDES).collect()
}

/// Grants of sudoers(5), and settings that let a caller bring something of its own, or ask for no password.
#[must_use]
pub fn sudo_grants(text: &str) -> Told {
    const SETTINGS: [&str; 13] = [
        "!authenticate",
        "!env_reset",
        "setenv",
        "env_file",
        "exempt_group",
        "group_plugin",
        "timestamp_timeout=-",
        "editor",
        "askpass",
        "mailerpath",
        "noexec_file",
        "pam_service",
        "pam_login_service",
    ];
    const ALIASES: [&str; 5] = ["User_Alias", "Runas_Alias", "Host_Alias", "Cmnd_Alias", "Cmd_Alias"];
    all_of(sudoers::lines(text).into_iter().map(|line| (line.number, line.text)), |line| {
        match sudoers::include(line) {
            Some(Include::Folder("/etc/sudoers.d")) => return None,
            Some(_) => return Some(line.to_owned()),
            None => {}
        }
        let first = line.split(|letter: char| letter.is_whitespace() || letter == ':').next().unwrap_or_default();
        if !first.starts_with("Defaults") {
            return (line.contains('=') && !ALIASES.contains(&first)).then(|| line.to_owned());
        }
        let settings: String = line.chars().filter(|letter| *letter != ' ').collect();
        let others = ["PYTHON", "PERL", "RUBY", "IFS", "SHELLOPTS", "PS4", "LD_", "PATH", "*"];
        let names = || PRELOADS.iter().chain(&others).any(|name| line.contains(name));
        let keeps = (settings.contains("env_keep") || settings.contains("env_check")) && names();
        let path = settings.split_once("secure_path=");
        let odd_path = path.is_some_and(|(_, path)| has_odd_path(&format!("PATH={path}")));
        let set = SETTINGS.iter().any(|setting| settings.contains(setting)) && !settings.contains("!setenv");
        (keeps || odd_path || set).then(|| line.to_owned())
    })
}

/// The files that sudoers(5) takes in.
#[must_use]
pub fn sudo_includes(text: &str) -> Vec<String> {
    let of_line = |line: sudoers::Line| match sudoers::include(&line.text)? {
        Include::File(file) => Some(file.to_owned()),
        Include::Folder(folder) => Some(format!("{}/*", folder.trim_end_matches('/'))),
    };
    sudoers::lines(text).into_iter().filter_map(of_line).take(MAX_INCLUDES).collect()
}

/// Plug-ins and helpers of sudo.conf(5).
#[must_use]
pub fn sudo_plugins(text: &str) -> Told {
    each(text, |line| directive(line).filter(|(key, _)| matches!(key.as_str(), "plugin" | "path")).map(|_| line.to_owned()))
}

/// Modules of nsswitch.conf(5) that no library of the usual ones brings.
#[must_use]
pub fn name_services(text: &str) -> Told {
    const USUAL: [&str; 22] = [
        "files",
        "compat",
        "db",
        "dns",
        "systemd",
        "resolve",
        "myhostname",
        "mymachines",
        "mdns",
        "mdns_minimal",
        "mdns4",
        "mdns4_minimal",
        "mdns6",
        "mdns6_minimal",
        "nis",
        "nisplus",
        "ldap",
        "sss",
        "winbind",
        "wins",
        "hesiod",
        "usrfiles",
    ];
    let of_line = |(number, line): (u32, &str)| {
        let bare = line.split('#').next().unwrap_or_default();
        let (_, services) = bare.split_once(':')?;
        let mut inside = false;
        let odd = services.replace('[', " [ ").replace(']', " ] ").split_whitespace().any(|word| {
            inside = (inside || word == "[") && word != "]";
            !inside && word != "]" && !USUAL.contains(&word)
        });
        odd.then(|| (number, bare.trim().to_owned()))
    };
    numbered(text).filter_map(of_line).take(MAX_INCLUDES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::platform::linux::persistence::lines::tests::check;

    #[test]
    fn accounts_that_are_root_or_open_are_told() {
        check(
            accounts,
            "root:x:0:0::/:/bin/sh\ntoor:x:00:0:::/bin/zsh\nx:x:1:1:::\ny::7:7:::/bin/sh",
            &[(2, "toor is user 0 (/bin/zsh)"), (4, "y has no password (/bin/sh)")],
        );
        check(
            accounts,
            "sync:x:4:0:::/bin/sync\nbob:x:1:0:::/bin/sh\neve:x:2:042:::/bin/sh\nx:x:3:6",
            &[(2, "bob in the group root (/bin/sh)"), (3, "eve in the group shadow (/bin/sh)"), (4, "x in the group disk ()")],
        );
        check(
            powerful_groups,
            "root:x:0:\nsudo:x:27:bob,eve\nusers:x:100:bob\ndocker:x:999:root, bob\nadm:x:4:root",
            &[(2, "bob, eve in the group sudo"), (4, "bob in the group docker")],
        );
        check(passwordless, "root:*:1::\nx::1::\ny:!:1::", &[(2, "x has no password")]);
    }

    #[test]
    fn pam_rules_that_run_let_in_or_load_from_elsewhere_are_told() {
        let told = |line: &str| !pam_commands(line).is_empty();
        for line in [
            "auth optional pam_exec.so /tmp/x",
            "auth required /tmp/y.so",
            "auth required /tmp/evil",
            "auth required ../../../tmp/evil.so",
            "auth required /tmp/security/evil.so",
            "auth required /lib/../tmp/security/evil.so",
            "auth [success=1 default=ignore] /tmp/x.so",
            "-auth \\\n sufficient pam_permit.so",
            "AUTH [success=done default=ignore] pam_permit.so",
            "auth sufficient pam_succeed_if.so uid >= 0",
            "auth sufficient pam_listfile.so item=user sense=deny file=/x onerr=succeed",
            "auth sufficient pam_debug.so auth=success",
            "auth [success=1 default=ignore] pam_succeed_if.so user = evil",
            "auth sufficient pam_wheel.so trust",
            "auth [default=done] pam_deny.so",
            "auth [success=ok auth_err=ok default=die] pam_unix.so",
            "auth required pam_userdb.so db=/tmp/x",
            "session required pam_env.so envfile=/tmp/env",
            "@include /tmp/x",
            "auth include ../../tmp/x",
            "sshd auth required /tmp/x.so",
        ] {
            assert!(told(line), "{line}");
        }
        for line in [
            "auth required pam_unix.so",
            "auth required pam_permit.so",
            "account sufficient pam_permit.so",
            "auth required /lib/x86_64-linux-gnu/security/pam_unix.so",
            "auth required /usr/lib64/security/pam_unix.so",
            "@include common-auth",
            "# auth required /tmp/x.so",
            "auth sufficient pam_rootok.so",
            "auth required pam_succeed_if.so user != root quiet_success",
            "session [success=1 default=ignore] pam_succeed_if.so service in crond quiet",
            "account sufficient pam_localuser.so",
            "auth required pam_wheel.so",
            "session required pam_env.so user_readenv=1 envfile=/etc/default/locale",
            "auth [default=1 ignore=ignore success=ok] pam_usertype.so isregular",
            "auth [success=1 default=ignore] pam_unix.so nullok",
        ] {
            assert!(!told(line), "{line}");
        }
        assert_eq!(pam_includes("@include common-auth # x\nauth substack /tmp/y\nauth required z"), ["common-auth", "/tmp/y"]);
    }

    #[test]
    fn grants_and_settings_of_sudo_are_told() {
        let told = |line: &str| !sudo_grants(line).is_empty();
        for line in [
            "root ALL=(ALL:ALL) ALL",
            "bob ALL=(ALL) NOPASSWD: ALL # _Alias",
            "Defaults env_keep += LD_PRELOAD",
            "Defaults:bob env_keep += \"X \\\n BASH_ENV\"",
            "Defaults !authenticate",
            "Defaults secure_path=/tmp/x:/usr/bin",
            "@include /tmp/evil",
            "#includedir /tmp/evil.d",
            "Defaults timestamp_timeout=-1",
            "Defaults mailerpath=/tmp/x",
            "Defaults:bob noexec_file = /tmp/x.so",
            "Defaults pam_service=open",
            "#1001 ALL=(ALL) NOPASSWD: ALL",
            "# a comment does not go on \\\nbob ALL=(ALL) ALL",
        ] {
            assert!(told(line), "{line}");
        }
        for line in [
            "@includedir /etc/sudoers.d",
            "#includedir /etc/sudoers.d",
            "Defaults env_reset",
            "Defaults secure_path=\"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\"",
            "User_Alias ADMINS = bob",
            "Defaults use_pty",
            "# bob ALL=(ALL) ALL",
        ] {
            assert!(!told(line), "{line}");
        }
        assert_eq!(sudo_includes("#include /a\n@includedir /b/\n# include /c"), ["/a", "/b/*"]);
        check(sudo_plugins, "# Plugin x\nPlugin y /tmp/z.so\nSet a b", &[(2, "Plugin y /tmp/z.so")]);
        check(
            name_services,
            "passwd: files systemd\ngroup: files [NOTFOUND=return] evil\n#x: y",
            &[(2, "group: files [NOTFOUND=return] evil")],
        );
    }
}
