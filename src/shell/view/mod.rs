//! The one owner of the screen: everything that a person or a program reads of the shell is written here.
//!
//! [`Screen`] holds standard output and standard error, and with them terminal, width, colour and progress.

mod above;
pub mod clean;
mod diagnostic;
mod progress;
mod screen;
pub mod theme;
mod width;

pub use above::Above;
pub use diagnostic::Origin;
pub use screen::{Screen, ScreenOptions};
