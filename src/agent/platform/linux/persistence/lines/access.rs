//! Keys and settings of ssh: authorized_keys(5), sshd_config(5), ssh_config(5).

use super::{Told, directive, each, included};

/// Keys of authorized_keys(5): the command that one is bound to, else its kind and comment.
#[must_use]
pub fn authorized_keys(text: &str) -> Told {
    const KINDS: [&str; 3] = ["ssh-", "ecdsa-", "sk-"];
    let is_kind = |word: &str| KINDS.iter().any(|kind| word.starts_with(kind));
    each(text, |line| {
        let (options, rest) = if is_kind(line) { ("", line) } else { split_options(line) };
        let mut words = rest.split_whitespace();
        let kind = words.next().filter(|word| is_kind(word))?;
        let comment = words.skip(1).collect::<Vec<_>>().join(" ");
        let options = options_of(options);
        let option = |name: &str| options.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        let set: Vec<&str> = options
            .iter()
            .filter(|(key, _)| key.eq_ignore_ascii_case("environment"))
            .map(|(_, value)| value.as_str())
            .collect();
        let runs = option("command").cloned().or_else(|| (!set.is_empty()).then(|| format!("with {}", set.join(" "))));
        Some(match runs {
            Some(runs) => format!("{runs} ({comment})"),
            None if option("cert-authority").is_some() => format!("cert-authority {kind} {comment}"),
            None => format!("{kind} {comment}"),
        })
    })
}

/// The options at the start of a line, and what follows them: a blank within quotes ends nothing.
fn split_options(line: &str) -> (&str, &str) {
    let mut quoted = false;
    let mut escaped = false;
    for (at, letter) in line.char_indices() {
        match letter {
            '"' if !escaped => quoted = !quoted,
            letter if letter.is_whitespace() && !quoted => {
                return (line.get(..at).unwrap_or_default(), line.get(at..).unwrap_or_default());
            }
            _ => {}
        }
        escaped = letter == '\\';
    }
    (line, "")
}

/// Options and their values, quotes taken off.
fn options_of(text: &str) -> Vec<(String, String)> {
    let mut options = vec![(String::new(), String::new())];
    let (mut quoted, mut in_value) = (false, false);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let letter = match letter {
            '\\' if quoted && letters.peek() == Some(&'"') => letters.next().unwrap_or(letter),
            '"' => {
                quoted = !quoted;
                continue;
            }
            ',' if !quoted => {
                options.push((String::new(), String::new()));
                in_value = false;
                continue;
            }
            '=' if !quoted && !in_value => {
                in_value = true;
                continue;
            }
            letter => letter,
        };
        if let Some((key, value)) = options.last_mut() {
            if in_value { value.push(letter) } else { key.push(letter) }
        }
    }
    options
}

/// Directives of sshd_config(5) that run something or let keys in.
#[must_use]
pub fn sshd_directives(text: &str) -> Told {
    each(text, |line| {
        let (key, value) = directive(line)?;
        let is_no = value.eq_ignore_ascii_case("no");
        let is_none = value.eq_ignore_ascii_case("none");
        let is_usual = match key.as_str() {
            "authorizedkeyscommand" | "authorizedprincipalscommand" | "forcecommand" => is_none || value == "internal-sftp",
            "authorizedkeysfile" => is_none || value.split_whitespace().all(|file| USUAL_KEYS.contains(&file)),
            "trustedusercakeys" | "authorizedprincipalsfile" | "securitykeyprovider" | "xauthlocation" => is_none,
            "permituserenvironment" | "permitemptypasswords" | "hostbasedauthentication" => is_no,
            "ignorerhosts" => !is_no && !value.eq_ignore_ascii_case("shosts-only"),
            "setenv" | "acceptenv" => !value.split_whitespace().any(lets_loader_in),
            "include" => value.split_whitespace().all(|file| !file.starts_with('/') || file.starts_with("/etc/ssh/")),
            "subsystem" => false,
            _ => return None,
        };
        (!is_usual).then(|| line.to_owned())
    })
}

/// Where keys are by themselves.
const USUAL_KEYS: [&str; 4] =
    [".ssh/authorized_keys", ".ssh/authorized_keys2", "%h/.ssh/authorized_keys", "%h/.ssh/authorized_keys2"];

/// Whether a name or pattern of variables takes those that the loader or a shell obeys.
fn lets_loader_in(name: &str) -> bool {
    let name = name.trim_matches('"');
    name.starts_with('*') || name.starts_with("LD_") || name.starts_with("L*") || name.starts_with("BASH_ENV")
}

/// The files of keys that a configuration of sshd names beside the usual ones, `%h` where one lies in each home; and what it
/// includes, which may name more.
#[must_use]
pub fn key_files(text: &str) -> Vec<String> {
    let files = included(text, &["authorizedkeysfile"])
        .into_iter()
        .filter(|file| !USUAL_KEYS.contains(&file.as_str()) && !file.eq_ignore_ascii_case("none"));
    let files = files.map(|file| if file.starts_with(['/', '%']) { file } else { format!("%h/{file}") });
    files.chain(ssh_includes(text)).collect()
}

/// Directives of ssh_config(5) that run something.
#[must_use]
pub fn ssh_commands(text: &str) -> Told {
    each(text, |line| {
        let (key, value) = directive(line)?;
        let runs = match key.as_str() {
            "proxycommand"
            | "localcommand"
            | "remotecommand"
            | "knownhostscommand"
            | "pkcs11provider"
            | "securitykeyprovider" => !value.eq_ignore_ascii_case("none"),
            "match" => {
                value.to_ascii_lowercase().split_whitespace().any(|word| word.trim_start_matches('!').starts_with("exec"))
            }
            "include" => value.split_whitespace().any(|file| file.starts_with('/') && !file.starts_with("/etc/ssh/")),
            _ => false,
        };
        runs.then(|| line.to_owned())
    })
}

/// What a configuration of ssh or sshd includes.
#[must_use]
pub fn ssh_includes(text: &str) -> Vec<String> {
    included(text, &["include"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::platform::linux::persistence::lines::tests::check;

    #[test]
    fn keys_are_told_with_their_commands() {
        check(
            authorized_keys,
            "# c\nssh-rsa AAA me@x\ncommand=\"/tmp/x y\",no-pty ssh-ed25519 BBB z\njunk",
            &[(2, "ssh-rsa me@x"), (3, "/tmp/x y (z)")],
        );
        check(
            authorized_keys,
            "no-pty,Command=\"sh -c \\\"/tmp/x, y\\\"\" ssh-rsa AAA z\ncert-authority,principals=\"a\" sk-x A c\n",
            &[(1, "sh -c \"/tmp/x, y\" (z)"), (2, "cert-authority sk-x c")],
        );
        check(authorized_keys, "environment=\"LD_PRELOAD=/x\" ssh-rsa AAA z\n", &[(1, "with LD_PRELOAD=/x (z)")]);
        check(authorized_keys, "command=\"ssh-rsa\" x\n\"\n", &[]);
    }

    #[test]
    fn settings_that_run_something_or_let_somebody_in_are_told() {
        check(
            sshd_directives,
            "Port 22\nAuthorizedKeysFile .ssh/authorized_keys\nForceCommand /x\nauthorizedkeyscommand=/y",
            &[(3, "ForceCommand /x"), (4, "authorizedkeyscommand=/y")],
        );
        let other = "AuthorizedKeysFile .ssh/authorized_keys .ssh/authorized_keys_bak";
        check(sshd_directives, other, &[(1, other)]);
        assert_eq!(key_files(other), ["%h/.ssh/authorized_keys_bak"]);
        check(
            sshd_directives,
            "Include /etc/ssh/sshd_config.d/*.conf\nInclude /tmp/x\nPermitEmptyPasswords \"yes\"\nAcceptEnv LANG LC_*\nAcceptEnv LD_*",
            &[(2, "Include /tmp/x"), (3, "PermitEmptyPasswords \"yes\""), (5, "AcceptEnv LD_*")],
        );
        check(
            sshd_directives,
            "HostbasedAuthentication yes\nIgnoreRhosts no\nHostbasedAuthentication no\nIgnoreRhosts yes",
            &[(1, "HostbasedAuthentication yes"), (2, "IgnoreRhosts no")],
        );
        assert_eq!(ssh_includes("include a.conf \"b\"\nIncluded x"), ["a.conf", "b"]);
        check(
            ssh_commands,
            "Host x\nMatch host y exec \"/tmp/x\"\nProxyCommand none\nPermitLocalCommand yes\nLocalCommand /y",
            &[(2, "Match host y exec \"/tmp/x\""), (5, "LocalCommand /y")],
        );
    }
}
