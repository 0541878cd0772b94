//! The service, driven over its socket.

mod curl;
mod start;
