//! The same for many things at once: work that mostly waits for a disk is done by a few threads, each of which takes the next thing.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, Builder, available_parallelism};

use crate::agent::context::Meter;
use crate::agent::platform::{thread_cpu_since, thread_cpu_time};

/// The most threads at one piece of work.
const MAX_HANDS: usize = 8;
/// How many a processor has: while one waits for the disk, another goes on.
const HANDS_A_PROCESSOR: usize = 4;

/// What becomes of each thing, in their order. Things are begun in their order too. Where no thread is to be had the calling one does
/// everything; what the others cost goes to the meter.
pub fn abreast<T: Sync, R: Send>(things: &[T], meter: &Meter, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let hands = available_parallelism().map_or(1, NonZero::get).saturating_mul(HANDS_A_PROCESSOR);
    let hands = hands.min(MAX_HANDS).min(things.len());
    let next = AtomicUsize::new(0);
    let hand = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(thing) = things.get(at) else { return done };
            done.push((at, work(thing)));
        }
    };
    let mut all = thread::scope(|scope| {
        let measured = || {
            let begun = thread_cpu_time();
            let done = hand();
            meter.spent(thread_cpu_since(begun));
            done
        };
        let start = |_| Builder::new().name("abreast".into()).spawn_scoped(scope, measured).ok();
        let others: Vec<_> = (1..hands).filter_map(start).collect();
        let mut all = hand();
        for other in others {
            match other.join() {
                Ok(done) => all.extend(done),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    });
    all.sort_unstable_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, made)| made).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_done_once_and_stands_in_its_place() {
        let things: Vec<usize> = (0..1_000).collect();
        let begun = AtomicUsize::new(0);
        let double = |thing: &usize| {
            begun.fetch_add(1, Ordering::Relaxed);
            thing * 2
        };
        assert_eq!(abreast(&things, &Meter::default(), double), (0..1_000).map(|thing| thing * 2).collect::<Vec<_>>());
        assert_eq!(begun.into_inner(), 1_000);
        assert!(abreast(&[], &Meter::default(), |thing: &usize| *thing).is_empty());
        assert_eq!(abreast(&[7], &Meter::default(), |thing| *thing), [7]);
    }
}
