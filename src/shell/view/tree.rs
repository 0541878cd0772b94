//! Rows that stand below each other as parents and children: how deep each of them stands among those that are shown, and what is
//! drawn before its name for it. What is drawn comes from the rows' numbers alone; a name that begins like it is shown so that nobody
//! takes one for the other.

use std::borrow::Cow;

use crate::protocol::text::show;

/// How deep rows are drawn; of those that stand deeper the level is told.
const MAX_LEVEL: usize = 16;
/// So much of a name is shown before anything is drawn.
const NAME: usize = 15;
/// What stands for a level, where it can be told from a name by its colour, and where it cannot.
const BAR: &str = "│ ";
const BLANK: &str = "  ";
/// What stands before the level of a row that is too deep to be drawn.
const DEEP: char = '…';

/// The rows above the next one, as far as they may be its ancestors.
#[derive(Debug, Default)]
pub(super) struct Lineage {
    above: Vec<Above>,
}

#[derive(Debug)]
struct Above {
    id: String,
    /// How many ancestors it has, shown or not.
    depth: usize,
    level: usize,
}

impl Lineage {
    /// The level of the next row: one below its parent's where that is shown, else the top.
    pub(super) fn level(&mut self, id: &str, parent: &str, depth: usize) -> usize {
        while self.above.last().is_some_and(|last| last.depth >= depth) {
            self.above.pop();
        }
        let level = self.above.last().filter(|last| last.id == parent).map_or(0, |last| last.level + 1);
        self.above.push(Above { id: id.to_owned(), depth, level });
        level
    }
}

/// What is drawn before a name of that width, in a column that may be no wider than `width`.
pub(super) fn guide(level: usize, name: usize, width: Option<usize>, color: bool) -> String {
    let room = width.map_or(usize::MAX, |width| width.saturating_sub(name.min(NAME)));
    if level <= MAX_LEVEL && level * BLANK.len() <= room {
        return if color { BAR } else { BLANK }.repeat(level);
    }
    format!("{DEEP}{level} ")
}

/// A name as it is shown in a tree: one that begins with what is drawn there, or with a blank, shows that.
pub(super) fn name(name: Cow<'_, str>) -> Cow<'_, str> {
    let first = name.chars().next().filter(|first| first.is_whitespace() || matches!(first, '│' | '\u{2800}' | &DEEP));
    let Some(first) = first else { return name };
    let mut shown = String::with_capacity(name.len() + 8);
    show(first, &mut shown);
    shown.push_str(name.get(first.len_utf8()..).unwrap_or_default());
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_stands_below_its_parent_where_that_is_shown() {
        let levels = |rows: &[(u32, u32, usize)]| {
            let mut lineage = Lineage::default();
            let level = |(id, parent, depth): &(u32, u32, usize)| lineage.level(&id.to_string(), &parent.to_string(), *depth);
            rows.iter().map(level).collect::<Vec<_>>()
        };
        assert_eq!(levels(&[(1, 0, 0), (2, 1, 1), (3, 2, 2), (4, 1, 1), (5, 0, 0)]), [0, 1, 2, 1, 0]);
        // 2 and 5 are not among them: nobody is shown below a row that is no parent of theirs.
        assert_eq!(levels(&[(1, 0, 0), (3, 2, 2), (4, 3, 3), (6, 5, 1), (7, 6, 2)]), [0, 0, 1, 0, 1]);
        assert_eq!(levels(&[(1, 0, 0), (3, 2, 2), (4, 1, 1)]), [0, 0, 1]);
    }

    #[test]
    fn no_name_looks_like_what_is_drawn() {
        let check = |given: &str, shown: &str| assert_eq!(name(given.into()), shown);
        check("sshd", "sshd");
        check("(sd-pam)", "(sd-pam)");
        check("  sshd", "\\u{20} sshd");
        check("│ sshd", "\\u{2502} sshd");
        check("…3 sshd", "\\u{2026}3 sshd");
        check("\u{2003}x", "\\u{2003}x");
        check("", "");
    }

    #[test]
    fn a_deep_row_keeps_its_name() {
        let check = |level, name, width, expected: &str| assert_eq!(guide(level, name, width, false), expected, "{level}");
        check(0, 4, Some(4), "");
        check(2, 4, Some(8), "    ");
        check(2, 4, Some(7), "…2 ");
        check(2, 40, Some(19), "    ");
        check(17, 4, None, "…17 ");
        assert_eq!(guide(2, 4, None, true), "│ │ ");
    }
}
