//! The service, driven over its socket.

mod crowd;
mod curl;
mod errors;
mod faults;
mod hostile;
mod killed;
mod library;
mod limits;
mod openapi;
mod peek;
mod roles;
mod run;
mod schema;
mod spool;
mod start;
mod streams;
mod together;
