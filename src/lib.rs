//! `lrsh`, the live response shell: the modules in the order that data flows through them.

pub mod cli;
pub mod grammar;
pub mod host;
pub mod protocol;

pub mod config;
pub mod error;

pub mod shell;

pub mod agent;
pub mod service;

pub mod embedded;
