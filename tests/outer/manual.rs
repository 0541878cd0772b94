//! The manual page: made from the arguments and the sections of `--help`.

use std::process::Command;

use clap::CommandFactory;
use clap_mangen::Man;
use lrsh::cli::{Cli, page};

use crate::kit::need::need;
use crate::outer::fresh;

#[test]
fn the_manual_is_fresh() {
    fresh("completions/lrsh.1", &manual());
}

#[test]
fn groff_has_nothing_to_say_of_it() {
    if !need(&["groff"]) {
        return;
    }
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/completions/lrsh.1");
    let output = Command::new("groff").args(["-man", "-Tutf8", "-ww", "-rLL=78n", "-P-cbou", file]).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    for said in ["EXIT CODES", "LRSH_HOME", "lrsh explain", "lrsh help", "--keep-going", "findfile *.sh /tmp"] {
        assert!(text.contains(said), "{said} is not in {text}");
    }
}

/// What roff puts before every part; once is enough.
const QUOTES: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";

fn manual() -> String {
    let mut program = Cli::command();
    program.build();
    let man = Man::new(program.clone());
    let mut text = format!("{QUOTES}.TH LRSH 1 \"\" \"lrsh\" \"User Commands\"\n");
    text.push_str(&written(|out| man.render_name_section(out)));
    text.push_str(".SH SYNOPSIS\n");
    for usage in program.render_usage().to_string().trim_start_matches("Usage: ").lines() {
        text.push_str(&format!("{}\n.br\n", plain(usage.trim())));
    }
    text.push_str(".SH DESCRIPTION\n");
    for paragraph in page::INTRODUCTION.split("\n\n") {
        text.push_str(&format!(".PP\n{}\n", plain(paragraph)));
    }
    text.push_str(&written(|out| man.render_options_section(out)));
    text.push_str(".SH SUBCOMMANDS\n");
    for command in program.get_subcommands_mut().filter(|command| !command.is_hide_set()) {
        let usage = command.render_usage().to_string();
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        text.push_str(&format!(".SS {}\n{}\n", plain(usage.trim_start_matches("Usage: ")), plain(&about)));
        let options = written(|out| Man::new(command.clone()).render_options_section(out));
        text.push_str(&options.replace(".SH OPTIONS\n", ""));
    }
    for (title, entries) in page::SECTIONS {
        text.push_str(&format!(".SH {}\n", title.to_uppercase()));
        for (name, about) in *entries {
            let head = if name.is_empty() { String::new() } else { format!(".TP\n{}\n", plain(name)) };
            text.push_str(&format!("{head}{}\n", plain(about)));
        }
    }
    text
}

fn written(render: impl FnOnce(&mut dyn std::io::Write) -> std::io::Result<()>) -> String {
    let mut out = Vec::new();
    render(&mut out).unwrap();
    String::from_utf8(out).unwrap().replace(QUOTES, "")
}

/// A text that roff takes as it is.
fn plain(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
    if text.starts_with('.') { format!("\\&{text}") } else { text }
}
