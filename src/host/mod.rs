//! The machine that lrsh itself runs on: its folders, socket, terminal and signals.
//!
//! Beside the agent's platform the only place with `cfg(unix)`.

mod home;
mod lock;
pub mod signals;
pub mod start;
mod stream;
pub mod terminal;

pub use home::{Home, MountedRoot, local_path, private_file, private_folder};
pub use lock::{lock_within, on_removal};
pub use stream::terminal_width;

/// Reads at a place of a file without moving it.
///
/// # Errors
/// As pread says.
pub fn read_at(file: &std::fs::File, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}
