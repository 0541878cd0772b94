//! The machine that lrsh itself runs on: its folders, socket, terminal and signals.
//!
//! Beside the agent's platform the only place with `cfg(unix)`.

mod home;
pub mod start;
mod stream;

pub use home::{Home, private_file, private_folder};
pub use stream::terminal_width;
