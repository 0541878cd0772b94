//! What `lrsh --help` and the manual say beside the arguments: what it is, what to type first, scripts, files, exit codes.

/// What it is, for somebody who has never seen it.
pub const INTRODUCTION: &str = "\
The live response shell: investigate and repair machines that may be compromised.

You type short commands. They run on the device that you look into, and the answer comes back as a table or as JSON, on the \
screen or into a file. With no configuration the device is this machine, and there is nothing to set up.";

/// A section: its title, and lines of something typed or named with what it means. An entry without a name is a sentence.
pub type Section = (&'static str, &'static [(&'static str, &'static str)]);

/// Everything behind the arguments.
pub const SECTIONS: &[Section] = &[
    (
        "First commands",
        &[
            ("", "Type them at the prompt that lrsh opens; Tab completes, exit leaves."),
            ("help", "what there is; help COMMAND explains one"),
            ("processes", "what runs here, largest first"),
            ("findfile *.sh /tmp -modified -2d", "scripts in /tmp changed in two days"),
        ],
    ),
    (
        "Scripts",
        &[
            ("", "Answers go to standard output, everything else to standard error."),
            ("lrsh -c 'processes -output json'", "a line; -c as often as wanted"),
            ("lrsh triage.lrsh", "a file of lines, checked as a whole first"),
            ("lrsh < triage.lrsh", "the same from standard input"),
            ("lrsh check triage.lrsh", "only the check: file:line:column of errors"),
            ("lrsh explain 'getfile \"/a b\" &'", "how a line is read, as JSON"),
        ],
    ),
    (
        "Files",
        &[
            ("", "lrsh paths prints where they are on this machine."),
            ("config.toml", "settings; lrsh config prints those that hold"),
            ("history", "the lines typed"),
            ("service/", "log of commands, library, service.toml: limits, analysts"),
            ("agent/", "journal of changes, quarantine"),
        ],
    ),
    (
        "Environment",
        &[
            ("LRSH_HOME", "a folder for all of the above instead"),
            ("NO_COLOR", "no colour; CLICOLOR_FORCE: colour in any case"),
        ],
    ),
    (
        "Exit codes",
        &[
            ("0", "done"),
            ("1", "a command failed on the device"),
            ("2", "a line was not understood"),
            ("3", "refused by the service: role, policy, limit, or another analyst holds the device"),
            ("4", "service or device not reachable, or the command was interrupted"),
            ("5", "internal error"),
            ("124", "a time limit was reached"),
            ("130", "cancelled"),
        ],
    ),
];

/// What stands before the arguments in `--help`: what it is, and what to type first.
pub(super) fn beginning() -> String {
    format!("{INTRODUCTION}\n\n{}", written(SECTIONS.get(..1).unwrap_or_default()))
}

/// What stands behind them.
pub(super) fn rest() -> String {
    written(SECTIONS.get(1..).unwrap_or_default())
}

fn written(sections: &[Section]) -> String {
    let mut text = String::new();
    for (title, entries) in sections {
        text.push_str(&format!("{title}:\n"));
        let width = entries.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        for (name, about) in *entries {
            let line = if name.is_empty() { (*about).to_owned() } else { format!("{name:width$}  {about}") };
            text.push_str(&format!("  {line}\n"));
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text
}
