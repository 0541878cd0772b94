//! Judges what lies in archives, layer by layer; all of it counts for the file that holds it.

use std::io::{self, Read};
use std::path::Path;

use super::archive::{Kind, Source, archives, members, not_looked_into};
use super::budget::{Budget, is_too_much};
use super::judge::name_of;
use super::reading::{Taken, streamed};
use super::{Judge, Judgement, Subject, Whole};
use crate::agent::context::VerbError;

impl Judge {
    /// Looks into one archive. `prefix` is where it lies in others.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn layer(
        &mut self,
        source: &mut dyn Source,
        kind: Kind,
        name: &str,
        prefix: &str,
        budget: &Budget,
        depth: u32,
        judgement: &mut Judgement,
    ) -> Result<(), VerbError> {
        members(source, kind, name, budget, &mut |member, content| {
            self.member(content, &format!("{prefix}{member}"), budget, depth, judgement)
        })
    }

    fn member(
        &mut self,
        content: &mut dyn Read,
        place: &str,
        budget: &Budget,
        depth: u32,
        judgement: &mut Judgement,
    ) -> Result<(), VerbError> {
        let subject = Subject { file: None, place: Some(place.to_owned()) };
        let wants = self.wants(&subject);
        let read = self.read(wants, &mut |buffer| streamed(content, buffer))?;
        let is_whole = read.error.is_none();
        if let Some(error) = read.error.as_ref().filter(|error| !is_too_much(error)) {
            budget.say(format!("{place}: {error}"));
        }
        let at_hand = read.is_at_hand();
        if !at_hand {
            let (size, start) = (read.size, read.start.len());
            budget.say(format!("{place}: of its {size} bytes rules saw the first {start}"));
        }
        let Taken { start, size, hashes, counts, .. } = read;
        let found = if is_whole { archives(&start, if at_hand { &start } else { &[] }) } else { Vec::new() };
        let (sha256, sha1, md5) = if is_whole { hashes.end() } else { (None, None, None) };
        let entropy = counts.map(|(counts, counted)| counts.entropy(counted));
        let shown = Whole { size, sha256, sha1, md5, entropy, start, ..Whole::default() };
        self.show(&subject, &shown, judgement)?;
        let start = shown.start;
        for (kind, from) in found {
            if let Kind::Closed(what) = kind {
                budget.say(not_looked_into(place, what));
            } else if !at_hand {
                budget.say(format!("{place}: an archive within an archive, and too large to be looked into"));
            } else if depth >= budget.depth {
                budget.say(format!("{place}: it lies in more than {} archives and was not looked into", budget.depth));
            } else {
                let name = name_of(Path::new(place));
                let mut source = io::Cursor::new(start.get(from..).unwrap_or_default());
                self.layer(&mut source, kind, &name, &format!("{place} > "), budget, depth + 1, judgement)?;
            }
        }
        self.give_back(start);
        Ok(())
    }
}
