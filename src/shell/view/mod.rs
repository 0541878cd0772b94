//! The one owner of the screen: everything that a person or a program reads of the shell is written here.
//!
//! [`Screen`] holds standard output and standard error, and with them terminal, width, colour and progress. A [`Rendering`]
//! takes the events of one command and writes its answer, to the screen or to the file of a redirect.

mod above;
pub mod clean;
mod csv;
mod diagnostic;
mod fields;
mod json;
#[cfg(test)]
mod look;
mod object;
mod options;
mod progress;
mod records;
mod redirect;
mod rendering;
mod rows;
mod screen;
mod spec;
mod table;
pub mod theme;
mod transcript;
mod tree;
mod value;
mod width;
mod wrap;

pub use above::Above;
pub use diagnostic::Origin;
pub use json::harmless;
pub use redirect::RedirectFile;
pub use rendering::{Next, Rendering, Summary, Target};
pub use screen::{Screen, ScreenOptions};
pub use spec::RenderSpec;
pub(crate) use value::duration;
