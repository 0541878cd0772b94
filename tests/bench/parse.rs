//! How many lines a second are read and bound, on one core: the corpus over and over.
//!
//! `cargo bench --bench parse -- [--rounds N] [FILE.jsonl…]`: the median and the best of N (15) rounds of a second each; without
//! files those of `grammar/corpus/`. Good and bad lines count alike.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lrsh::grammar;
use lrsh::protocol::PlatformName;

fn main() {
    let mut words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let mut rounds = 15;
    if words.first().is_some_and(|word| word == "--rounds") {
        rounds = words.drain(..2).nth(1).unwrap().parse().unwrap();
    }
    let mut files: Vec<PathBuf> = words.into_iter().map(PathBuf::from).collect();
    if files.is_empty() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("grammar/corpus");
        files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    }
    let mut cases: Vec<(String, Option<PlatformName>)> = Vec::new();
    for file in files {
        for text in std::fs::read_to_string(file).unwrap().lines() {
            let case: serde_json::Value = serde_json::from_str(text).unwrap();
            let platform = case.get("platform").map(|name| serde_json::from_value(name.clone()).unwrap());
            cases.push((case["line"].as_str().unwrap().to_owned(), platform));
        }
    }
    let bad = cases.iter().filter(|(line, platform)| !grammar::read(line, *platform).diagnostics.is_empty()).count();
    let mut rates: Vec<f64> = (0..rounds).map(|_| rate(&cases)).collect();
    rates.sort_by(f64::total_cmp);
    println!(
        "{} lines, {bad} of them bad: median {:.0}, best {:.0} lines a second",
        cases.len(),
        rates[rates.len() / 2],
        rates[rates.len() - 1]
    );
}

fn rate(cases: &[(String, Option<PlatformName>)]) -> f64 {
    let begun = Instant::now();
    let mut read = 0.0;
    while begun.elapsed() < Duration::from_secs(1) {
        for (line, platform) in cases {
            black_box(grammar::read(black_box(line), *platform));
            read += 1.0;
        }
    }
    read / begun.elapsed().as_secs_f64()
}
