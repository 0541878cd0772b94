//! The analyst's terminal: where lines come from, how they are sent, and how their answers are shown.

pub mod client;
pub mod editor;
pub mod view;

pub use self::client::Starter;
