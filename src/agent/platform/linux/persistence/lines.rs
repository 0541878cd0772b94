//! What files of configuration run: each function takes a file's text and tells the lines that run something, and what.
//!
//! Pure.

/// The most lines that are told of one file.
const MAX_TOLD: usize = 2_000;
/// The most of a line that is told.
const MAX_LINE: usize = 2_000;

/// Lines, from 1, and what they run.
pub type Told = Vec<(u32, String)>;

fn each(text: &str, mut runs: impl FnMut(&str) -> Option<String>) -> Told {
    let mut told = Told::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') || told.len() >= MAX_TOLD {
            continue;
        }
        told.extend(runs(line).map(|runs| (number, runs.chars().take(MAX_LINE).collect())));
    }
    told
}

/// Every line that says something.
#[must_use]
pub fn every_line(text: &str) -> Told {
    each(text, |line| Some(line.to_owned()))
}

/// `LD_PRELOAD=` and the like, however they are set.
#[must_use]
pub fn preload_variables(text: &str) -> Told {
    const NAMES: [&str; 5] = ["LD_PRELOAD", "LD_AUDIT", "LD_LIBRARY_PATH", "PROMPT_COMMAND", "BASH_ENV"];
    each(text, |line| NAMES.iter().any(|name| line.contains(name)).then(|| line.to_owned()))
}

/// Folders of libraries in `ld.so.conf`.
#[must_use]
pub fn library_folders(text: &str) -> Told {
    each(text, |line| line.starts_with('/').then(|| line.to_owned()))
}

/// Commands of modprobe.d(5).
#[must_use]
pub fn modprobe_commands(text: &str) -> Told {
    each(text, |line| {
        let mut words = line.split_whitespace();
        let is_command = matches!(words.next(), Some("install" | "remove"));
        let command = words.skip(1).collect::<Vec<_>>().join(" ");
        // `install x /bin/false` only keeps a module from being loaded.
        let blocks = matches!(command.as_str(), "" | "/bin/true" | "/bin/false" | "/usr/bin/true" | "/usr/bin/false" | ":");
        (is_command && !blocks).then_some(command)
    })
}

/// Keys of authorized_keys(5): the command that one is bound to, else its kind and comment.
#[must_use]
pub fn authorized_keys(text: &str) -> Told {
    const KINDS: [&str; 4] = ["ssh-", "ecdsa-", "sk-", "cert-authority"];
    each(text, |line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let at = words.iter().position(|word| KINDS.iter().any(|kind| word.starts_with(kind)))?;
        let comment = words.get(at + 2..).unwrap_or_default().join(" ");
        let command = line.split_once("command=\"").and_then(|(_, rest)| rest.split_once('"')).map(|(command, _)| command);
        Some(match command {
            Some(command) => format!("{command} ({comment})"),
            None => format!("{} {comment}", words.get(at).copied().unwrap_or_default()),
        })
    })
}

/// Directives of sshd_config(5) that run something or let keys in.
#[must_use]
pub fn sshd_directives(text: &str) -> Told {
    each(text, |line| {
        let (key, value) = line.split_once(|letter: char| letter.is_whitespace() || letter == '=')?;
        let value = value.trim_start_matches([' ', '\t', '=']);
        let is_usual = match key.to_ascii_lowercase().as_str() {
            "authorizedkeyscommand" | "authorizedprincipalscommand" | "forcecommand" => {
                value == "none" || value == "internal-sftp"
            }
            "authorizedkeysfile" => value.split_whitespace().all(|file| file.starts_with(".ssh/authorized_keys")),
            "trustedusercakeys" => value == "none",
            "permituserenvironment" | "permitemptypasswords" => value.eq_ignore_ascii_case("no"),
            "subsystem" => false,
            _ => return None,
        };
        (!is_usual).then(|| line.to_owned())
    })
}

/// Directives of ssh_config(5) that run something.
#[must_use]
pub fn ssh_commands(text: &str) -> Told {
    each(text, |line| {
        let key = line.split(|letter: char| letter.is_whitespace() || letter == '=').next()?.to_ascii_lowercase();
        matches!(key.as_str(), "proxycommand" | "localcommand" | "knownhostscommand" | "pkcs11provider")
            .then(|| line.to_owned())
    })
}

/// Lines of pam.d(5) that run a program, or a module that does not lie where modules lie.
#[must_use]
pub fn pam_commands(text: &str) -> Told {
    each(text, |line| {
        let module = line.split_whitespace().find(|word| word.contains(".so"))?;
        let runs = ["pam_exec", "pam_script", "pam_python", "pam_lua"].iter().any(|name| module.contains(name));
        let elsewhere = module.starts_with('/') && !module.contains("/security/");
        (runs || elsewhere).then(|| line.to_owned())
    })
}

/// Programs of udev(7)'s rules.
#[must_use]
pub fn udev_commands(text: &str) -> Told {
    each(text, |line| {
        let mut runs = Vec::new();
        for key in ["RUN", "PROGRAM", "IMPORT{program}"] {
            for (at, _) in line.match_indices(key) {
                let rest = line.get(at + key.len()..)?;
                let rest = rest.strip_prefix("{program}").unwrap_or(rest).trim_start().trim_start_matches(['+', '=', ':']);
                let command =
                    rest.trim_start().strip_prefix('"').and_then(|rest| rest.split_once('"')).map(|(command, _)| command);
                runs.extend(command.filter(|command| !command.is_empty()));
            }
        }
        (!runs.is_empty()).then(|| runs.join("; "))
    })
}

/// Hooks of apt.conf(5).
#[must_use]
pub fn apt_hooks(text: &str) -> Told {
    const HOOKS: [&str; 7] = [
        "Pre-Invoke",
        "Post-Invoke",
        "Pre-Install-Pkgs",
        "Pre-Install-Packages",
        "Post-Invoke-Success",
        "Post-Invoke-Stats",
        "Auto-Detect",
    ];
    let mut inside = false;
    each(text, |line| {
        if line.starts_with("//") {
            return None;
        }
        let begins = HOOKS.iter().any(|hook| line.contains(hook));
        let told = (begins || inside) && line.contains('"');
        // A block of commands goes on over lines to its brace.
        inside = (begins || inside) && !line.contains('}');
        told.then(|| line.to_owned())
    })
}

/// Hooks of dpkg.cfg(5).
#[must_use]
pub fn dpkg_hooks(text: &str) -> Told {
    each(text, |line| {
        let bare = line.trim_start_matches("--");
        ["pre-invoke", "post-invoke", "status-logger"].iter().any(|hook| bare.starts_with(hook)).then(|| line.to_owned())
    })
}

/// Commands of interfaces(5).
#[must_use]
pub fn interface_commands(text: &str) -> Told {
    each(text, |line| {
        let (key, command) = line.split_once(char::is_whitespace)?;
        matches!(key, "up" | "down" | "pre-up" | "post-up" | "pre-down" | "post-down").then(|| command.trim().to_owned())
    })
}

/// Grants of sudoers(5) that ask for no password, and what sudo loads.
#[must_use]
pub fn sudo_grants(text: &str) -> Told {
    each(text, |line| {
        let loads =
            line.starts_with("Defaults") && ["env_keep", "secure_path", "!authenticate"].iter().any(|key| line.contains(key));
        let grants = !line.starts_with("Defaults") && !line.starts_with('@') && line.contains('=') && !line.contains("_Alias");
        (grants || (loads && line.contains("LD_"))).then(|| line.to_owned())
    })
}

/// Scripts of logrotate(8), one a block.
#[must_use]
pub fn logrotate_scripts(text: &str) -> Told {
    let mut told = Told::new();
    let mut script: Option<(u32, Vec<&str>)> = None;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        match (line, &mut script) {
            ("endscript", Some(_)) => told.extend(script.take().map(|(number, lines)| (number, lines.join("; ")))),
            (_, Some((_, lines))) => {
                lines.extend((!line.is_empty() && !line.starts_with('#') && lines.len() < 100).then_some(line));
            }
            ("postrotate" | "prerotate" | "firstaction" | "lastaction" | "preremove", None) => {
                script = Some((number, Vec::new()));
            }
            _ => {}
        }
    }
    told.extend(script.map(|(number, lines)| (number, lines.join("; "))));
    told.truncate(MAX_TOLD);
    told
}

/// Lines of a `.pth` file that Python runs.
#[must_use]
pub fn python_lines(text: &str) -> Told {
    each(text, |line| (line.starts_with("import ") || line.starts_with("import\t")).then(|| line.to_owned()))
}

/// What git runs by itself.
#[must_use]
pub fn git_commands(text: &str) -> Told {
    each(text, |line| {
        let (key, value) = line.split_once('=')?;
        let (key, value) = (key.trim().to_ascii_lowercase(), value.trim());
        let runs =
            matches!(key.as_str(), "hookspath" | "fsmonitor" | "sshcommand" | "pager" | "editor") || value.starts_with('!');
        (runs && !value.is_empty()).then(|| line.to_owned())
    })
}

/// Programs that rsyslog starts.
#[must_use]
pub fn rsyslog_programs(text: &str) -> Told {
    each(text, |line| (line.contains("omprog") || line.contains("binary=") || line.contains(" ^/")).then(|| line.to_owned()))
}

/// `server =` of xinetd, and lines of inetd.conf with their program.
#[must_use]
pub fn inetd_servers(text: &str) -> Told {
    each(text, |line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let xinetd = line.strip_prefix("server").filter(|rest| rest.trim_start().starts_with('='));
        let inetd = (words.len() >= 6).then(|| words.get(5..).unwrap_or_default().join(" "));
        xinetd.map(|rest| rest.trim_start_matches([' ', '\t', '=']).to_owned()).or(inetd)
    })
}

/// The program of a D-Bus service, or the unit that stands for it.
#[must_use]
pub fn bus_program(text: &str) -> Told {
    let value = |key: &str| {
        let mut lines = (1..).zip(text.lines());
        lines.find_map(|(number, line)| {
            Some((number, line.trim().strip_prefix(key)?.trim_start().strip_prefix('=')?.trim().to_owned()))
        })
    };
    let unit = value("SystemdService");
    let exec = value("Exec").filter(|(_, exec)| exec != "/bin/false" && exec != "/usr/bin/false");
    exec.or(unit).into_iter().collect()
}

/// Interpreters of binfmt.d(5).
#[must_use]
pub fn binfmt_interpreters(text: &str) -> Told {
    each(text, |line| {
        let mut letters = line.chars();
        let mark = letters.next()?;
        letters.as_str().split(mark).nth(5).map(ToOwned::to_owned)
    })
}

/// What inittab(5) starts.
#[must_use]
pub fn inittab_commands(text: &str) -> Told {
    each(text, |line| line.splitn(4, ':').nth(3).filter(|command| !command.is_empty()).map(ToOwned::to_owned))
}

/// `action=` of acpid, `exec=` of the like.
#[must_use]
pub fn actions(text: &str) -> Told {
    each(text, |line| {
        let (key, value) = line.split_once('=')?;
        matches!(key.trim(), "action" | "exec" | "Exec").then(|| value.trim().to_owned())
    })
}

/// Code that PHP runs before every page, or loads from elsewhere.
#[must_use]
pub fn php_settings(text: &str) -> Told {
    each(text, |line| {
        let bare = line.strip_prefix("php_value").or(line.strip_prefix("php_admin_value")).unwrap_or(line).trim_start();
        let (key, value) = bare.split_once(['=', ' '])?;
        let value = value.trim_start_matches([' ', '\t', '=']).trim().trim_matches('"');
        let runs = matches!(key.trim(), "auto_prepend_file" | "auto_append_file") && !value.is_empty() && value != "none";
        let loads = matches!(key.trim(), "extension" | "zend_extension") && value.starts_with('/');
        (runs || loads).then(|| line.to_owned())
    })
}

/// Users beside root who are root.
#[must_use]
pub fn other_roots(text: &str) -> Told {
    each(text, |line| {
        let mut fields = line.split(':');
        let (name, uid, shell) = (fields.next()?, fields.nth(1)?, fields.nth(3).unwrap_or_default());
        (uid.parse() == Ok(0_u32) && name != "root").then(|| format!("{name} is user 0 ({shell})"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(finder: fn(&str) -> Told, text: &str, expected: &[(u32, &str)]) {
        let told = finder(text);
        let told: Vec<(u32, &str)> = told.iter().map(|(number, runs)| (*number, runs.as_str())).collect();
        assert_eq!(told, expected, "{text}");
    }

    #[test]
    fn lines_that_run_something_are_told_and_others_are_not() {
        check(
            modprobe_commands,
            "options a b=c\ninstall a /bin/false\ninstall b /tmp/x; true\n# install c y",
            &[(3, "/tmp/x; true")],
        );
        check(
            authorized_keys,
            "# c\nssh-rsa AAA me@x\ncommand=\"/tmp/x y\",no-pty ssh-ed25519 BBB z\njunk",
            &[(2, "ssh-rsa me@x"), (3, "/tmp/x y (z)")],
        );
        check(
            sshd_directives,
            "Port 22\nAuthorizedKeysFile .ssh/authorized_keys\nForceCommand /x\nauthorizedkeyscommand=/y",
            &[(3, "ForceCommand /x"), (4, "authorizedkeyscommand=/y")],
        );
        check(
            pam_commands,
            "auth required pam_unix.so\nauth optional pam_exec.so /tmp/x\nauth required /tmp/y.so",
            &[(2, "auth optional pam_exec.so /tmp/x"), (3, "auth required /tmp/y.so")],
        );
        check(
            udev_commands,
            "ACTION==\"add\", RUN+=\"/tmp/x %k\", RUN{program}+=\"/y\"\nIMPORT{program}=\"z\"\nNAME=\"RUN\"",
            &[(1, "/tmp/x %k; /y"), (2, "z")],
        );
        check(
            apt_hooks,
            "APT::Update::Pre-Invoke {\"/tmp/x\";};\nDPkg::Post-Invoke {\n\"/y\";\n}\nA \"b\";",
            &[(1, "APT::Update::Pre-Invoke {\"/tmp/x\";};"), (3, "\"/y\";")],
        );
        check(
            sudo_grants,
            "root ALL=(ALL:ALL) ALL\n@includedir /etc/sudoers.d\nDefaults env_reset\nDefaults env_keep += LD_PRELOAD",
            &[(1, "root ALL=(ALL:ALL) ALL"), (4, "Defaults env_keep += LD_PRELOAD")],
        );
        check(logrotate_scripts, "/var/log/x {\n daily\n postrotate\n  a\n  # c\n  b\n endscript\n}", &[(3, "a; b")]);
        check(python_lines, "/path\nimport os; os.system('x')", &[(2, "import os; os.system('x')")]);
        check(
            git_commands,
            "[core]\n hooksPath = /x\n[alias]\n s = status\n x = !sh",
            &[(2, "hooksPath = /x"), (5, "x = !sh")],
        );
        check(bus_program, "[D-BUS Service]\nName=a\nExec=/bin/false\nSystemdService=a.service", &[(4, "a.service")]);
        check(binfmt_interpreters, ":x:M::MZ::/usr/bin/wine:", &[(1, "/usr/bin/wine")]);
        check(
            php_settings,
            "auto_prepend_file =\nauto_prepend_file = \"/tmp/x.php\"\nphp_value auto_append_file /y",
            &[(2, "auto_prepend_file = \"/tmp/x.php\""), (3, "php_value auto_append_file /y")],
        );
        check(other_roots, "root:x:0:0::/:/bin/sh\ntoor:x:00:0:::/bin/zsh\nx:x:1:1:::", &[(2, "toor is user 0 (/bin/zsh)")]);
        check(interface_commands, "iface eth0 inet dhcp\n post-up /x y", &[(2, "/x y")]);
        check(inetd_servers, "ftp stream tcp nowait root /x y\nserver = /z", &[(1, "/x y"), (2, "/z")]);
        check(inittab_commands, "1:2345:respawn:/x", &[(1, "/x")]);
        check(dpkg_hooks, "post-invoke=/x\nno-debsig", &[(1, "post-invoke=/x")]);
        check(preload_variables, "LANG=C\nexport LD_PRELOAD=/x", &[(2, "export LD_PRELOAD=/x")]);
    }
}
