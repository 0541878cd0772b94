//! What one key costs in a line of 200 characters: colours, hint, and what Tab offers, with a folder of 1,000 entries and a
//! history of 10,000 lines known.
//!
//! `cargo bench --bench editor`: median and worst of 1,000 keys, at every kind of place. The limit is a millisecond.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lrsh::grammar::Row;
use lrsh::protocol::PlatformName;
use lrsh::shell::editor::{Aids, Answer, Candidate, Facts, Found, Surroundings, Wanted};

/// A device that answers at once.
struct Device;

impl Surroundings for Device {
    fn facts(&self) -> Facts {
        let roles = ["basic", "advanced"].map(str::to_owned).to_vec();
        Facts { platform: Some(PlatformName::Linux), device: Some("web01".into()), directory: "/".into(), roles }
    }

    fn ask(&self, _: &Wanted, answer: Answer) {
        let entry =
            |n: u32| Candidate { value: format!("report-{n}.log"), description: "1 bytes".into(), ..Candidate::default() };
        answer(Ok(Found { candidates: (0..1000).map(entry).collect(), more: false }));
    }

    fn jobs(&self) -> usize {
        0
    }

    fn idle_left(&self) -> Option<Duration> {
        None
    }

    fn help(&self, _: Option<&'static Row>) -> String {
        String::new()
    }
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("history");
    let mut history = String::new();
    for n in 0..10_000 {
        writeln!(history, "{{\"line\":\"processes -name p{n} -sort -cpu_time_ms\"}}").unwrap();
    }
    std::fs::write(&file, history).unwrap();
    let mut aids = Aids::new(file, Arc::new(Device));
    let path = format!("/{}", "folder-with-a-name/".repeat(8));
    let ends = [
        ("a path of the folder", format!("findfile *.dll \"{path}\" -size +10k -modified -2d -sha256 x{path}")),
        ("a path that fits one", format!("cat {path}{path}report-99")),
        ("a field", format!("findfile *.dll {path} -size +10k -modified -2d -sort -si")),
        ("a parameter", format!("findfile *.dll {path} -size +10k -modified -2d -")),
        ("a command nobody knows", "x".repeat(200)),
    ];
    for (what, end) in ends {
        // As long as the issue says, whatever it ends in.
        let line: String = if end.len() < 200 { format!("{}{end}", " ".repeat(200 - end.len())) } else { end };
        let mut times: Vec<Duration> = (0..1000)
            .map(|_| {
                let begun = Instant::now();
                black_box(aids.at(black_box(&line), line.len()));
                begun.elapsed()
            })
            .collect();
        times.sort();
        println!("{what}, {} characters: median {:?}, worst {:?}", line.len(), times[500], times[999]);
    }
}
