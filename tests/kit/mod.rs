//! What tests are made with.

#![allow(dead_code)] // Not every part of the kit has a test that uses all of it.

pub mod device;
pub mod fleet;
pub mod hive;
pub mod hive_log;
pub mod home;
pub mod mount;
pub mod need;
pub mod network;
pub mod pty;
pub mod puppet;
pub mod scripted;
pub mod shell;
pub mod standin;
pub mod systemd;
pub mod talking;
pub mod windows;
pub mod wire;
