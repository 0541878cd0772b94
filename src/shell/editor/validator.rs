//! Enter runs the line, unless a quote is open: then more is to come.

use reedline::ValidationResult;

use crate::grammar::has_open_quote;

/// Asks the lexer.
pub(super) struct Validator;

impl reedline::Validator for Validator {
    fn validate(&self, line: &str) -> ValidationResult {
        if has_open_quote(line) { ValidationResult::Incomplete } else { ValidationResult::Complete }
    }
}
