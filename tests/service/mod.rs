//! The service, driven over its socket.

mod curl;
mod library;
mod start;
