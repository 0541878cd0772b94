//! The service, driven over its socket.

mod crowd;
mod curl;
mod library;
mod limits;
mod roles;
mod start;
