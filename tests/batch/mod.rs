//! Transcripts on the real program through the real background process, each in a home of its own.

mod first_minute;
mod input;
mod precheck;
