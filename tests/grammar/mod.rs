//! The table holds its own rules, and the corpus reads as it says.

use lrsh::grammar;

#[test]
fn the_table_keeps_its_rules() {
    let problems = grammar::table().problems();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
