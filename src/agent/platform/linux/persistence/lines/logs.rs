//! What logging is told to run: rsyslog.conf(5), logrotate(8).

use super::{MAX_INCLUDES, MAX_TOLD, Told, each, naming, numbered};

/// Scripts of logrotate(8), one a block, and programs that it is told to use.
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
            (_, None) if !naming(line, &["*compresscmd", "*uncompresscmd"]).is_empty() => told.push((number, line.to_owned())),
            ("postrotate" | "prerotate" | "firstaction" | "lastaction" | "preremove", None) => {
                script = Some((number, Vec::new()));
            }
            _ => {}
        }
    }
    told.extend(script.map(|(number, lines)| (number, lines.join("; "))));
    told.truncate(MAX_TOLD + 1);
    told
}

/// Where rsyslog has its own modules and settings.
const OWN: [&str; 3] = ["/etc/rsyslog.d/", "/usr/lib/", "/etc/rsyslog.conf"];

/// Programs that rsyslog starts, and modules and settings that it takes from elsewhere.
#[must_use]
pub fn rsyslog_programs(text: &str) -> Told {
    each(text, |line| {
        let lower = line.to_ascii_lowercase();
        let tight: String = lower.chars().filter(|letter| !letter.is_whitespace()).collect();
        let runs = ["omprog", "improg", "mmexternal", "binary="].iter().any(|name| tight.contains(name));
        let shell = lower.split_whitespace().skip(1).any(|word| word.starts_with("^/"));
        let elsewhere = ["$modload/", "$includeconfig/", "load=\"/", "load='/", "file=\"/", "file='/"].iter().any(|name| {
            let mut files = tight.match_indices(name).filter_map(|(at, _)| tight.get(at + name.len() - 1..));
            let takes = tight.starts_with(['$', 'i', 'm']) && !tight.starts_with("input(");
            takes && files.any(|file| file.contains("..") || !OWN.iter().any(|own| file.starts_with(own)))
        });
        (runs || shell || elsewhere).then(|| line.to_owned())
    })
}

/// The files that a configuration of rsyslog takes in.
#[must_use]
pub fn rsyslog_includes(text: &str) -> Vec<String> {
    let of_line = |(_, line): (u32, &str)| {
        if let Some((key, file)) = line.split_once(char::is_whitespace).filter(|_| line.starts_with('$')) {
            return key.eq_ignore_ascii_case("$includeconfig").then(|| file.trim().trim_matches('"').to_owned());
        }
        let (_, rest) = line.strip_prefix("include(")?.split_once("file")?;
        let file = rest.trim_start().strip_prefix('=')?.trim_start().strip_prefix(['"', '\''])?;
        file.split(['"', '\'']).next().map(ToOwned::to_owned)
    };
    numbered(text).filter_map(of_line).take(MAX_INCLUDES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::platform::linux::persistence::lines::tests::check;

    #[test]
    fn what_logging_runs_is_told() {
        check(logrotate_scripts, "/var/log/x {\n daily\n postrotate\n  a\n  # c\n  b\n endscript\n}", &[(3, "a; b")]);
        check(
            logrotate_scripts,
            "compresscmd /bin/true\n/x { compress\n compresscmd /tmp/y\n}\n/z { uncompresscmd /tmp/w }",
            &[(1, "compresscmd /bin/true"), (3, "compresscmd /tmp/y"), (5, "/z { uncompresscmd /tmp/w }")],
        );
        check(
            rsyslog_programs,
            "module(load=\"imuxsock\")\ninput(type=\"improg\" binary = \"/tmp/i\")\n$ModLoad /tmp/mod.so\n$ModLoad imklog\n*.* ^/tmp/x\n*.* -/var/log/syslog\naction(type=\"omfile\" file=\"/var/log/x\")\nmodule(load=\"/tmp/m.so\")",
            &[
                (2, "input(type=\"improg\" binary = \"/tmp/i\")"),
                (3, "$ModLoad /tmp/mod.so"),
                (5, "*.* ^/tmp/x"),
                (8, "module(load=\"/tmp/m.so\")"),
            ],
        );
        let text = "$IncludeConfig /etc/rsyslog.d/*.conf\n$IncludeConfig /tmp/a\ninclude(file=\"/tmp/b\" mode=\"optional\")";
        check(rsyslog_programs, text, &[(2, "$IncludeConfig /tmp/a"), (3, "include(file=\"/tmp/b\" mode=\"optional\")")]);
        assert_eq!(rsyslog_includes(text), ["/etc/rsyslog.d/*.conf", "/tmp/a", "/tmp/b"]);
    }
}
