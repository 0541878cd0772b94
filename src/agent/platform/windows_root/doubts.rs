//! What could not be read of a disk while something was looked for. It is kept until it is told, so that damage and bounds are
//! never silence.

use std::cell::{Cell, RefCell};

use crate::protocol::Problem;

/// So many are told; of those beyond only how many there are.
const MOST: usize = 200;
/// So many times in all one is remembered to have been met.
const MET: usize = 20_000;

/// What could not be read, and where.
#[derive(Debug, Clone)]
pub struct Doubt {
    /// The key of the registry, or the file.
    pub place: String,
    /// Why.
    pub problem: Problem,
}

/// All of them of one command, each once; and when each was met, which may be by several who look for different things.
#[derive(Debug, Default)]
pub struct Doubts {
    noted: RefCell<Vec<Doubt>>,
    met: RefCell<Vec<usize>>,
    more: Cell<usize>,
}

impl Doubts {
    /// Keeps one.
    pub fn note(&self, place: &str, problem: Problem) {
        let mut noted = self.noted.borrow_mut();
        let known = noted.iter().position(|known| known.problem.message == problem.message);
        if known.is_none() && noted.len() >= MOST {
            self.more.set(self.more.get() + 1);
            return;
        }
        let number = known.unwrap_or(noted.len());
        if known.is_none() {
            noted.push(Doubt { place: place.to_owned(), problem });
        }
        let mut met = self.met.borrow_mut();
        if met.len() < MET {
            met.push(number);
        }
    }

    /// Those that were met after so many were.
    pub fn since(&self, count: usize) -> Vec<Doubt> {
        let noted = self.noted.borrow();
        self.met.borrow().iter().skip(count).filter_map(|&number| noted.get(number).cloned()).collect()
    }

    /// All of them as they are told.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems: Vec<Problem> = self.noted.borrow().iter().map(|doubt| doubt.problem.clone()).collect();
        let more = self.more.get();
        if more > 0 {
            problems.push(Problem::new("damaged", format!("{more} more places of the disk could not be read in all")));
        }
        problems
    }
}
