//! The service, driven over its socket.

mod crowd;
mod curl;
mod killed;
mod library;
mod limits;
mod roles;
mod start;
mod together;
