//! The one integration binary: every test drives the real program, or a real part of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod agent;
mod batch;
mod collect;
mod grammar;
mod isolation;
mod kit;
mod outer;
mod pty;
mod recorded;
mod remediate;
mod service;
mod shell;
