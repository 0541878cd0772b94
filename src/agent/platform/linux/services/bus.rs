//! What a running systemd says of its units, over D-Bus.
//!
//! A few calls of the D-Bus specification's wire format (protocol version 1), spoken here directly: a client library would bring an
//! asynchronous runtime of its own for them, and starting the device's own `systemctl` would ask a program that an intruder may have
//! replaced. systemd's private socket is tried first: it works when the message bus does not.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use super::message::{ENDIAN, Reader, pad, parse_micros, parse_pid, parse_units, reply_serial, string};
use crate::agent::context::Stop;
use crate::agent::platform::linux::ending::{left, timespec};
use crate::agent::platform::linux::systemd::{UnitKind, kind_of};

const PRIVATE: &str = "/run/systemd/private";
const BUS: &str = "/run/dbus/system_bus_socket";
const SYSTEMD: &str = "org.freedesktop.systemd1";
const DBUS: &str = "org.freedesktop.DBus";
/// The largest message that the protocol allows.
const MAX_MESSAGE: usize = 128 * 1024 * 1024;
/// How much of a message is read at once.
const PIECE: usize = 64 * 1024;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many questions are on their way at once: few enough to fit into a socket's buffer.
const AT_ONCE: usize = 64;

/// What the manager says of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitState {
    /// Its name.
    pub name: String,
    /// What it says it is.
    pub description: String,
    /// `loaded`, `not-found`, `masked`, …
    pub load: String,
    /// `active`, `inactive`, `failed`, …
    pub active: String,
    /// `running`, `dead`, `listening`, …
    pub sub: String,
    /// Its main process.
    pub main_pid: Option<u32>,
    /// Where it is on the bus.
    pub(super) path: String,
}

/// Every unit that a manager has loaded, by name.
///
/// # Errors
/// When it does not answer as it should.
pub(super) fn units(mut bus: Bus, stop: &Stop) -> io::Result<HashMap<String, UnitState>> {
    let mut units = bus.list()?;
    let running: Vec<usize> = (0..units.len())
        .filter(|&at| units.get(at).is_some_and(|unit| unit.name.ends_with(".service") && unit.active != "inactive"))
        .collect();
    for some in running.chunks(AT_ONCE) {
        if stop.asked() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let mut asked = Vec::new();
        for &at in some {
            let Some(path) = units.get(at).map(|unit| unit.path.clone()) else { continue };
            let what = ["org.freedesktop.systemd1.Service", "MainPID"];
            asked.push((at, bus.call(&path, "org.freedesktop.DBus.Properties", "Get", &what)?));
        }
        for (at, serial) in asked {
            let pid = bus.reply(serial)?.and_then(|body| parse_pid(&body));
            if let Some(unit) = units.get_mut(at) {
                unit.main_pid = pid;
            }
        }
    }
    Ok(units.into_iter().map(|unit| (unit.name.clone(), unit)).collect())
}

/// What the manager says of a timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimerState {
    /// Whether it waits for its time.
    pub active: bool,
    /// When it is next due.
    pub next: Option<Timestamp>,
    /// When it was last.
    pub last: Option<Timestamp>,
}

/// Every timer that a manager has loaded, by name.
///
/// # Errors
/// As [`units`].
pub(super) fn timers(mut bus: Bus, stop: &Stop) -> io::Result<HashMap<String, TimerState>> {
    const ASKED: [&str; 3] = ["NextElapseUSecRealtime", "NextElapseUSecMonotonic", "LastTriggerUSec"];
    let mut timers = HashMap::new();
    for unit in bus.list()?.into_iter().filter(|unit| kind_of(&unit.name) == Some(UnitKind::Timer)) {
        if stop.asked() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let mut answers = [None; ASKED.len()];
        for (answer, name) in answers.iter_mut().zip(ASKED) {
            let what = ["org.freedesktop.systemd1.Timer", name];
            let serial = bus.call(&unit.path, "org.freedesktop.DBus.Properties", "Get", &what)?;
            // systemd says 0, or the largest number, for never.
            *answer = bus.reply(serial)?.and_then(|body| parse_micros(&body)).and_then(|micros| i64::try_from(micros).ok());
        }
        let [real, monotonic, last] = answers.map(|micros| micros.filter(|&micros| micros > 0));
        let moment = |micros: i64| Timestamp::from_microsecond(micros).ok();
        let ahead = monotonic.and_then(|micros| moment(now(ClockId::Realtime) + micros - now(ClockId::Monotonic)));
        let next = [real.and_then(moment), ahead].into_iter().flatten().min();
        timers.insert(unit.name, TimerState { active: unit.active == "active", next, last: last.and_then(moment) });
    }
    Ok(timers)
}

fn now(clock: ClockId) -> i64 {
    let now = clock_gettime(clock);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1000
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// A connection to systemd itself, or to the bus it is on.
pub(super) struct Bus {
    stream: UnixStream,
    /// On the bus, calls say whom they are for.
    destination: Option<&'static str>,
    /// When all has to be over: who answers may be no systemd.
    until: Option<Instant>,
    serial: u32,
    waiting: HashMap<u32, Option<Vec<u8>>>,
    signals: u64,
}

impl Bus {
    pub(super) fn connect() -> io::Result<Self> {
        Self::connect_for(PATIENCE)
    }

    /// For calls whose answer may take that long.
    pub(super) fn connect_for(patience: Duration) -> io::Result<Self> {
        let (stream, destination) = match UnixStream::connect(Path::new(PRIVATE)) {
            Ok(stream) => (stream, None),
            Err(_) => (UnixStream::connect(Path::new(BUS))?, Some(SYSTEMD)),
        };
        let mut bus = Self::over(stream, destination, patience, None)?;
        if destination.is_some() {
            bus.destination = Some(DBUS);
            let serial = bus.call("/org/freedesktop/DBus", DBUS, "Hello", &[])?;
            bus.destination = destination;
            bus.reply(serial)?.ok_or_else(|| invalid("the bus refused Hello"))?;
        }
        Ok(bus)
    }

    /// To a user's own manager, by its private socket. That user may have put anything there: whatever it does, at that time it is over.
    pub(super) fn connect_to_user(private: &Path, until: Instant) -> io::Result<Self> {
        let patience = left(until).max(Duration::from_millis(1));
        Self::over(UnixStream::connect(private)?, None, patience, Some(until))
    }

    fn over(
        stream: UnixStream,
        destination: Option<&'static str>,
        patience: Duration,
        until: Option<Instant>,
    ) -> io::Result<Self> {
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        let mut bus = Self { stream, destination, until, serial: 0, waiting: HashMap::new(), signals: 0 };
        bus.authenticate()?;
        Ok(bus)
    }

    fn list(&mut self) -> io::Result<Vec<UnitState>> {
        let serial = self.call("/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager", "ListUnits", &[])?;
        let body = self.reply(serial)?.ok_or_else(|| invalid("ListUnits was refused"))?;
        parse_units(&body).ok_or_else(|| invalid("the list of units is not what it should be"))
    }

    fn authenticate(&mut self) -> io::Result<()> {
        let uid = rustix::process::geteuid().as_raw().to_string();
        let hex: String = uid.bytes().flat_map(|byte| [b'3', byte]).map(char::from).collect();
        // All at once, as systemd's own client does it: its private socket never answers to a BEGIN that comes later.
        self.stream.write_all(format!("\0AUTH EXTERNAL {hex}\r\nBEGIN\r\n").as_bytes())?;
        let mut line = Vec::new();
        let mut byte = [0];
        while !line.ends_with(b"\r\n") && line.len() < 1024 {
            self.fill(&mut byte)?;
            line.push(byte[0]);
        }
        if !line.starts_with(b"OK ") {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the agent's user was refused"));
        }
        Ok(())
    }

    /// Sends a call whose arguments are strings; its serial.
    pub(super) fn call(&mut self, path: &str, interface: &str, member: &str, arguments: &[&str]) -> io::Result<u32> {
        self.serial += 1;
        let mut body = Vec::new();
        for argument in arguments {
            string(&mut body, argument);
        }
        let mut fields = Vec::new();
        let mut field = |code: u8, kind: u8, value: &str| {
            pad(&mut fields, 8);
            fields.extend_from_slice(&[code, 1, kind, 0]);
            if kind == b'g' {
                fields.push(u8::try_from(value.len()).unwrap_or(0));
                fields.extend_from_slice(value.as_bytes());
                fields.push(0);
            } else {
                string(&mut fields, value);
            }
        };
        field(1, b'o', path);
        field(2, b's', interface);
        field(3, b's', member);
        if let Some(destination) = self.destination {
            field(6, b's', destination);
        }
        if !arguments.is_empty() {
            field(8, b'g', &"s".repeat(arguments.len()));
        }
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_ne_bytes();
        let mut message = vec![ENDIAN, 1, 0, 1];
        message.extend_from_slice(&length(&body));
        message.extend_from_slice(&self.serial.to_ne_bytes());
        message.extend_from_slice(&length(&fields));
        message.append(&mut fields);
        pad(&mut message, 8);
        message.append(&mut body);
        self.stream.write_all(&message)?;
        Ok(self.serial)
    }

    /// The body of the answer to a call; `None` when it was refused. Signals that come meanwhile are counted.
    pub(super) fn reply(&mut self, serial: u32) -> io::Result<Option<Vec<u8>>> {
        for _ in 0..100_000 {
            if let Some(answer) = self.waiting.remove(&serial) {
                return Ok(answer);
            }
            self.message()?;
        }
        Err(invalid("no answer among very many messages"))
    }

    /// Has systemd tell by signals when a job is over. On its private socket it does so unasked.
    pub(super) fn listen(&mut self) -> io::Result<()> {
        const RULE: &str = "type='signal',interface='org.freedesktop.systemd1.Manager',member='JobRemoved'";
        if let Some(destination) = self.destination {
            self.destination = Some(DBUS);
            let asked = self.call("/org/freedesktop/DBus", DBUS, "AddMatch", &[RULE]);
            self.destination = Some(destination);
            self.reply(asked?)?.ok_or_else(|| invalid("the bus refused AddMatch"))?;
        }
        let asked = self.call("/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager", "Subscribe", &[])?;
        self.reply(asked)?.map(drop).ok_or_else(|| invalid("systemd refused Subscribe"))
    }

    /// How many signals have come.
    pub(super) fn signals(&self) -> u64 {
        self.signals
    }

    /// Returns once more than so many signals have come, or the time is over.
    pub(super) fn wait_behind(&mut self, signals: u64, patience: Duration) -> io::Result<()> {
        let until = Instant::now() + patience;
        while self.signals <= signals {
            let mut watched = [PollFd::new(&self.stream, PollFlags::IN)];
            match rustix::event::poll(&mut watched, Some(&timespec(left(until)))) {
                Ok(0) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
                // Once it has begun, the rest of a message is not long in coming.
                Ok(_) => self.message()?,
            }
        }
        Ok(())
    }

    /// Reads so many bytes.
    fn fill(&mut self, mut bytes: &mut [u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if let Some(until) = self.until {
                let left = left(until);
                if left.is_zero() {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                self.stream.set_read_timeout(Some(left))?;
            }
            match self.stream.read(bytes) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => bytes = bytes.get_mut(read..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads one message: an answer is kept for who waits for it, a signal counted.
    fn message(&mut self) -> io::Result<()> {
        let mut head = [0; 16];
        self.fill(&mut head)?;
        let mut reader = Reader { bytes: &head, at: 4 };
        let (body, fields) = (reader.u32(), {
            reader.at = 12;
            reader.u32()
        });
        let (Some(body), Some(fields), ENDIAN) = (body, fields, head[0]) else {
            return Err(invalid("not a D-Bus message"));
        };
        let (body, fields) = (body as usize, (fields as usize).next_multiple_of(8));
        if body > MAX_MESSAGE || fields > MAX_MESSAGE {
            return Err(invalid("a message that is too long"));
        }
        let mut rest = Vec::new();
        while rest.len() < body + fields {
            let from = rest.len();
            rest.resize((body + fields).min(from + PIECE), 0);
            self.fill(rest.get_mut(from..).unwrap_or_default())?;
        }
        match head[1] {
            kind @ (2 | 3) => {
                if let Some(answered) = reply_serial(&rest) {
                    let body = rest.split_off(fields);
                    self.waiting.insert(answered, (kind == 2).then_some(body));
                }
            }
            4 => self.signals += 1,
            _ => {}
        }
        Ok(())
    }
}
