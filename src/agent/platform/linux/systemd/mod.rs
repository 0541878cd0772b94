//! systemd's units as its files describe them: found, merged and judged the way systemd.unit(5) and `systemctl list-unit-files` do,
//! from a running system or a tree.

mod command;
mod enablement;
mod file;
mod layer;
mod name;
mod search;
mod unit;

pub use command::{CommandLine, command_line};
pub use file::{Assignment, Source, parse as parse_file};
pub use name::{UnitKind, is_template, kind_of, template_of, unescape};
pub(super) use search::plain;
pub use search::{Pull, Scope, Units};
pub use unit::{DropIn, Loaded, Unit};
