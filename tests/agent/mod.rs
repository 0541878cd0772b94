//! The agent's verbs, driven through its link as the service drives them.

pub mod analyze;
mod analyze_process;
mod cat;
mod cd;
mod clamd;
mod connect;
mod connections;
pub mod dir;
mod drivers;
mod fileinfo;
mod findfile;
mod getfile;
mod hostile;
mod processes;
mod putfile;
pub mod registry;
mod roots;
pub mod run;
mod scan;
mod scheduledtasks;
mod services;
mod startupfolders;
mod table;
mod task_times;
pub mod units;
mod windows;
