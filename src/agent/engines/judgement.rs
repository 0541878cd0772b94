//! What is made of one thing, and how much of it is looked at.

use super::{Finding, Verdict, score, verdict};
use crate::agent::identity::FileIdentity;

/// How much is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Bytes of a file that are read; of a larger one there is no hash, and holes are passed over.
    pub file: u64,
    /// Bytes that are taken out of the archives in one file.
    pub unpacked: u64,
    /// Their members.
    pub members: u32,
    /// How deep they may lie in each other.
    pub depth: u32,
    /// Whether it is one among very many: no hash that nobody asks for, and no program started for it.
    pub quick: bool,
}

impl Bounds {
    /// For one thing that somebody waits for.
    pub const ANALYZE: Self = Self { file: 4 << 30, unpacked: 2 << 30, members: 20_000, depth: 4, quick: false };
    /// For one among very many.
    pub const SCAN: Self = Self { file: 512 << 20, unpacked: 256 << 20, members: 5_000, depth: 3, quick: true };
}

/// What engines say of one thing.
#[derive(Debug, Default, Clone)]
pub struct Judgement {
    /// What they found, the weightiest first.
    pub findings: Vec<Finding>,
    /// Engines that failed at it, and why.
    pub errors: Vec<(&'static str, String)>,
    /// What was not looked at, and why.
    pub cut: Vec<String>,
    /// Of the whole content, where it was read.
    pub sha256: Option<String>,
    /// Which file it was, where it stayed the same while it was read.
    pub identity: Option<FileIdentity>,
}

impl Judgement {
    /// What its findings weigh.
    #[must_use]
    pub fn score(&self) -> u32 {
        score(&self.findings)
    }

    /// Its verdict.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        verdict(self.score(), self.errors.is_empty() && self.cut.is_empty())
    }

    /// Adds what was found in a part of it.
    pub fn add(&mut self, part: Self, place: &str) {
        let within = |finding: Finding| Finding {
            place: Some(finding.place.map_or_else(|| place.to_owned(), |inner| format!("{place} > {inner}"))),
            ..finding
        };
        self.findings.extend(part.findings.into_iter().map(within));
        self.cut.extend(part.cut);
        for (engine, why) in part.errors {
            self.fail(engine, why);
        }
    }

    /// An engine failed at it: told once.
    pub fn fail(&mut self, engine: &'static str, why: String) {
        if !self.errors.contains(&(engine, why.clone())) {
            self.errors.push((engine, why));
        }
    }

    /// Puts the weightiest first.
    pub fn sort(&mut self) {
        self.findings.sort_by_key(|finding| std::cmp::Reverse(finding.weight));
    }
}
