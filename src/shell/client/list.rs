//! A list of objects that is an answer's body, item by item as it comes: the first are shown while the service still looks
//! up the last.

use reqwest::Response;

use super::root_cause;
use crate::error::{Failure, Outcome};

/// The items of a JSON array on their way.
pub struct List {
    response: Response,
    path: String,
    items: Items,
}

impl List {
    pub(super) fn new(response: Response, path: &str) -> Self {
        Self { response, path: path.to_owned(), items: Items::default() }
    }

    /// Takes in the next piece and hands on the items that it completes; `false` when none is left to come.
    ///
    /// # Errors
    /// When the connection broke, or what came is no list of such items.
    pub async fn piece(&mut self, take: &mut impl FnMut(&[u8]) -> serde_json::Result<()>) -> Outcome<bool> {
        let broken = |why: &str| Failure::unreachable(format!("the service broke off its answer: {why}"));
        let piece = self.response.chunk().await.map_err(|error| broken(&root_cause(&error)))?;
        let Some(piece) = piece else {
            return if self.items.is_closed() { Ok(false) } else { Err(broken("it ends within a list")) };
        };
        self.items
            .push(&piece, take)
            .map_err(|error| Failure::internal(format!("the service's answer to {} is not understood: {error}", self.path)))?;
        Ok(true)
    }
}

/// Finds where the items of an array end, in pieces that are cut anywhere. What is in an item is for its reader to judge.
#[derive(Debug, Default)]
struct Items {
    /// What came of the item that has begun.
    held: Vec<u8>,
    /// Arrays and objects that are open; 1 is between two items.
    depth: usize,
    in_string: bool,
    escaped: bool,
    was_open: bool,
}

impl Items {
    fn push(&mut self, piece: &[u8], take: &mut impl FnMut(&[u8]) -> serde_json::Result<()>) -> serde_json::Result<()> {
        // Where in the piece the item that is being read begins; one that is held began before it.
        let mut begin = 0;
        for (at, &byte) in piece.iter().enumerate() {
            if self.in_string {
                (self.in_string, self.escaped) = (byte != b'"' || self.escaped, byte == b'\\' && !self.escaped);
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => {
                    if self.depth == 1 {
                        begin = at;
                    }
                    self.depth += 1;
                    self.was_open = true;
                }
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 1 {
                        let rest = piece.get(begin..=at).unwrap_or_default();
                        if self.held.is_empty() {
                            take(rest)?;
                        } else {
                            self.held.extend_from_slice(rest);
                            take(&self.held)?;
                            self.held.clear();
                        }
                    }
                }
                _ => {}
            }
        }
        if self.depth > 1 {
            self.held.extend_from_slice(piece.get(begin..).unwrap_or_default());
        }
        Ok(())
    }

    fn is_closed(&self) -> bool {
        self.was_open && self.depth == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(pieces: &[&[u8]]) -> (Vec<String>, bool) {
        let (mut items, mut found) = (Items::default(), Vec::new());
        for piece in pieces {
            items
                .push(piece, &mut |item| {
                    found.push(String::from_utf8(item.to_vec()).unwrap());
                    Ok(())
                })
                .unwrap();
        }
        (found, items.is_closed())
    }

    #[test]
    fn items_come_out_whole_wherever_the_pieces_are_cut() {
        let check = |list: &str, wanted: &[&str]| {
            for one in 0..=list.len() {
                for two in one..=list.len() {
                    let (front, rest) = list.as_bytes().split_at(one);
                    let (middle, back) = rest.split_at(two - one);
                    let wanted: Vec<String> = wanted.iter().map(|&item| item.to_owned()).collect();
                    assert_eq!(items(&[front, middle, back]), (wanted, true), "{list} cut at {one} and {two}");
                }
            }
        };
        check("[]", &[]);
        check(r#" [ {"a":1} , {"b":[{"c":"}]"}]} ] "#, &[r#"{"a":1}"#, r#"{"b":[{"c":"}]"}]}"#]);
        check(r#"[{"a":"\\"},{"a":"\\\"]"}]"#, &[r#"{"a":"\\"}"#, r#"{"a":"\\\"]"}"#]);
    }

    #[test]
    fn a_list_that_breaks_off_is_not_closed() {
        assert_eq!(items(&[b""]), (vec![], false));
        assert_eq!(items(&[br#"[{"a":1},{"b"#]), (vec![r#"{"a":1}"#.to_owned()], false));
    }
}
