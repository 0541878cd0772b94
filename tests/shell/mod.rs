//! The shell's client against a service that dies at chosen places.

mod client;
mod fetch;
mod jobs;
mod roots;
