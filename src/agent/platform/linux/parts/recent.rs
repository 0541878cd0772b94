//! The files that were changed last: the newest of the whole device, the newest first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::agent::collect::{Ended, Gathered, Gatherer};
use crate::protocol::Problem;

/// What counts as recent.
const SINCE: &str = "-7d";
/// So many are told: on a machine that is being worked on there may be millions.
const MOST: usize = 50_000;

#[derive(Deserialize)]
struct File {
    modified: Option<Timestamp>,
}

pub(super) fn gather(to: &mut Gatherer) -> Gathered {
    let looking = to.look("findfile", &[("name", "*"), ("path", "/"), ("modified", SINCE)])?;
    let mut newest: BinaryHeap<Reverse<(Timestamp, Box<str>)>> = BinaryHeap::new();
    let mut older = 0_u64;
    let mut take = |row: Box<RawValue>| {
        let time = serde_json::from_str::<File>(row.get()).ok().and_then(|file| file.modified).unwrap_or(Timestamp::MIN);
        if newest.len() < MOST {
            newest.push(Reverse((time, row.get().into())));
            return Ok(());
        }
        older += 1;
        if newest.peek().is_some_and(|Reverse((oldest, _))| *oldest < time) {
            newest.pop();
            newest.push(Reverse((time, row.get().into())));
        }
        Ok(())
    };
    let end = looking.each(&mut take);
    let newest = newest.into_sorted_vec();
    to.rows("recent_files", |rows| {
        for Reverse((_, row)) in &newest {
            rows.row(&RawValue::from_string(row.to_string()).unwrap_or_default())?;
        }
        Ok(())
    })?;
    if older > 0 {
        let message = format!("{older} older ones of the last 7 days are left out: the {MOST} newest are there");
        to.problem(Problem::new("limit", message))?;
    }
    match end {
        Ok(problems) => problems.into_iter().try_for_each(|problem| to.problem(problem)).map_err(Ended::from),
        Err(ended) => Err(ended),
    }
}
