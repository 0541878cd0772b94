//! The agent's verbs, driven through its link as the service drives them.

mod connect;
mod dir;
mod processes;
