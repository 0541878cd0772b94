//! The agent: carries commands out on a device.
//!
//! A command comes in over the [`Link`](crate::protocol::link::AgentLink), [`Agent`] finds its verb and gives it a
//! [`Context`](context::Context) on a thread of its own; the verb tells what it finds through the context and looks at the
//! device only through [`platform`].

mod collect;
pub mod content;
pub mod context;
pub mod digest;
mod dispatch;
mod effects;
pub mod engines;
pub mod faults;
pub mod filetype;
pub mod filter;
pub mod hexdump;
pub mod identity;
mod interpreter;
pub mod journal;
pub mod listing;
pub mod path;
pub mod pattern;
pub mod platform;
mod protection;
mod quarantine;
pub mod script;
pub mod serve;
pub mod targets;
mod verbs;
mod vital;
pub mod walk;
mod ways;
pub mod working;

pub use dispatch::{Agent, AgentOptions, Shared};
pub use effects::Effects;
pub use platform::{release_this_machine, supervise};
pub use verbs::VERBS;
