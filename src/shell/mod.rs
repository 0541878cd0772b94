//! The analyst's terminal: where lines come from, how they are sent, and how their answers are shown.

pub mod editor;
pub mod view;
