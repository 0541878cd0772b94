//! The service: sessions, policy, the command log, and the way from a shell to a device and back.
//!
//! [`router`] is a function of the [`Service`]; [`serve`](fn@serve) takes the listener, so that whoever starts it (the embedded
//! process, a test) owns the socket. Devices come in as [`AgentLink`](crate::protocol::link::AgentLink)s.

mod closing;
mod commands;
mod error;
mod frame;
mod library;
mod peek;
mod policy;
mod queue;
mod recovery;
mod retention;
mod routes;
mod serve;
mod sessions;
mod shells;
mod spool;
mod state;
mod store;
mod stream;

pub use policy::{Analyst, Limits, Policy};
pub use routes::{openapi, router};
pub use serve::{Activity, Who, serve};
pub use state::{Service, ServiceOptions, StartError};
pub use store::Trouble;
