//! The shell's client against a service that dies at chosen places.

mod background;
mod client;
mod completion;
mod fetch;
mod jobs;
mod pattern;
mod reached;
mod replaced_roots;
mod roots;
mod transfer;
