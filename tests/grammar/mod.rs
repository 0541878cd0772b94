//! The table holds its own rules, the corpus reads as it says, and nothing that can be typed does harm.

mod corpus;
mod properties;

use lrsh::grammar;

#[test]
fn the_table_keeps_its_rules() {
    let problems = grammar::table().problems();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
