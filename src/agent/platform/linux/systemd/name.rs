//! Names of units, after systemd.unit(5): `prefix.kind`, `prefix@.kind` (a template), `prefix@instance.kind`.

use serde::Serialize;

/// The longest name of a unit.
const MAX_NAME: usize = 255;

/// Kinds of units, in the order in which they are listed: what runs things first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum UnitKind {
    /// Runs programs.
    Service,
    /// Starts a service when somebody connects.
    Socket,
    /// Starts a unit at a time.
    Timer,
    /// Starts a unit when a file changes.
    Path,
    /// A group of units, a state of the system.
    Target,
    /// Mounts a file system.
    Mount,
    /// Mounts a file system when it is used.
    Automount,
    /// A part of the tree of control groups.
    Slice,
    /// Processes that systemd did not start.
    Scope,
    /// Swap space.
    Swap,
    /// A device.
    Device,
}

impl UnitKind {
    /// What a name ends with.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Socket => "socket",
            Self::Timer => "timer",
            Self::Path => "path",
            Self::Target => "target",
            Self::Mount => "mount",
            Self::Automount => "automount",
            Self::Slice => "slice",
            Self::Scope => "scope",
            Self::Swap => "swap",
            Self::Device => "device",
        }
    }

    /// The section of a unit's file that is its kind's own.
    #[must_use]
    pub fn section(self) -> &'static str {
        match self {
            Self::Service => "Service",
            Self::Socket => "Socket",
            Self::Timer => "Timer",
            Self::Path => "Path",
            Self::Target => "Target",
            Self::Mount => "Mount",
            Self::Automount => "Automount",
            Self::Slice => "Slice",
            Self::Scope => "Scope",
            Self::Swap => "Swap",
            Self::Device => "Device",
        }
    }
}

/// The kind of unit that a name names; `None` when it is no unit's name.
#[must_use]
pub fn kind_of(name: &str) -> Option<UnitKind> {
    let (prefix, suffix) = name.rsplit_once('.')?;
    let kinds = [
        UnitKind::Service,
        UnitKind::Socket,
        UnitKind::Timer,
        UnitKind::Path,
        UnitKind::Target,
        UnitKind::Mount,
        UnitKind::Automount,
        UnitKind::Slice,
        UnitKind::Scope,
        UnitKind::Swap,
        UnitKind::Device,
    ];
    let fits = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    let named = !prefix.is_empty() && !prefix.starts_with('@') && name.len() <= MAX_NAME && prefix.chars().all(fits);
    kinds.into_iter().find(|kind| named && kind.as_str() == suffix)
}

/// Whether a name is a template's: `x@.service`.
#[must_use]
pub fn is_template(name: &str) -> bool {
    matches!(parts(name), Some((_, "", _)))
}

/// The template that an instance is made from; `None` when the name is no instance's.
#[must_use]
pub fn template_of(name: &str) -> Option<String> {
    let (prefix, instance, suffix) = parts(name)?;
    (!instance.is_empty()).then(|| format!("{prefix}@.{suffix}"))
}

/// The instance of a template: `x@.service`, `y` → `x@y.service`.
pub(super) fn instance_of(template: &str, instance: &str) -> Option<String> {
    let (prefix, _, suffix) = parts(template)?;
    Some(format!("{prefix}@{instance}.{suffix}"))
}

/// Before the `@`, behind it, the suffix.
pub(super) fn parts(name: &str) -> Option<(&str, &str, &str)> {
    let (stem, suffix) = name.rsplit_once('.')?;
    let (prefix, instance) = stem.split_once('@')?;
    Some((prefix, instance, suffix))
}

/// Undoes systemd's escapes: `\x2d` → `-`; with `path`, `-` → `/`.
#[must_use]
pub fn unescape(text: &str, path: bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        match (first, tail) {
            (b'-', _) if path => bytes.push(b'/'),
            (b'\\', [b'x', high, low, after @ ..]) => {
                let hex = [*high, *low];
                let byte = std::str::from_utf8(&hex).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok());
                match byte {
                    Some(byte) => {
                        bytes.push(byte);
                        rest = after;
                    }
                    None => bytes.push(first),
                }
            }
            _ => bytes.push(first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What stands for `%`-specifiers in a value; those that only a running manager knows stay as they are written.
#[must_use]
pub(super) fn expand(value: &str, name: &str) -> String {
    if !value.contains('%') {
        return value.to_owned();
    }
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let (prefix, instance) = stem.split_once('@').unwrap_or((stem, ""));
    let mut text = String::with_capacity(value.len());
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            text.push(letter);
            continue;
        }
        match letters.next() {
            Some('n') => text.push_str(name),
            Some('N') => text.push_str(stem),
            Some('p') => text.push_str(prefix),
            Some('P') => text.push_str(&unescape(prefix, false)),
            // Of a template itself there is no instance yet.
            Some('i') if !instance.is_empty() => text.push_str(instance),
            Some('I') if !instance.is_empty() => text.push_str(&unescape(instance, false)),
            Some('j') => text.push_str(prefix.rsplit('-').next().unwrap_or(prefix)),
            Some('t') => text.push_str("/run"),
            Some('S') => text.push_str("/var/lib"),
            Some('C') => text.push_str("/var/cache"),
            Some('L') => text.push_str("/var/log"),
            Some('E') => text.push_str("/etc"),
            Some('%') | None => text.push('%'),
            Some(other) => {
                text.push('%');
                text.push(other);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_as_systemd_does() {
        for (name, kind) in [
            ("ssh.service", Some(UnitKind::Service)),
            ("getty@tty1.service", Some(UnitKind::Service)),
            ("-.mount", Some(UnitKind::Mount)),
            ("dev-disk-by\\x2did.swap", Some(UnitKind::Swap)),
            ("@x.service", None),
            (".service", None),
            ("service", None),
            ("a b.service", None),
            ("x.service.d", None),
            ("x.conf", None),
        ] {
            assert_eq!(kind_of(name), kind, "{name}");
        }
        assert_eq!(template_of("a@b@c.service").as_deref(), Some("a@.service"));
        assert_eq!(template_of("a@.service"), None);
        assert!(is_template("a@.service") && !is_template("a@b.service") && !is_template("a.service"));
    }

    #[test]
    fn escapes_and_specifiers() {
        assert_eq!(unescape("a\\x2db-c", true), "a-b/c");
        assert_eq!(unescape("\\x2", false), "\\x2");
        assert_eq!(unescape("\\xzz\\", false), "\\xzz\\");
        assert_eq!(expand("%n %p %i %% %H %", "a@b\\x2d.service"), "a@b\\x2d.service a b\\x2d % %H %");
        assert_eq!(expand("%I", "a@b\\x2d.service"), "b-");
        assert_eq!(expand("%i", "a@.service"), "%i");
    }
}
