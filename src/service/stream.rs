//! The events of one command: numbered, spooled, and read by any number of readers at their own pace.
//!
//! Each event is written to the command's spool before any reader gets it. The newest are kept in memory; a reader who is
//! further behind reads from the spool, so that a slow one costs no memory, loses nothing, and holds nobody up.
//!
//! A spool is a file of frames: length and CRC-32 of what follows (little-endian, 4 bytes each), then the event's JSON,
//! compressed by zstd. A damaged or cut-off one yields what is whole.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{BufMut, Bytes, BytesMut};
use jiff::Timestamp;
use tokio::sync::watch;

use crate::host::private_file;

/// Events kept in memory at most, in bytes.
const IN_MEMORY: usize = 1 << 20;
/// No frame is larger; a length beyond it is damage.
const MAX_FRAME: u32 = 8 << 20;

thread_local! {
    /// Making one takes longer than most events need it for.
    static PACKER: RefCell<zstd::bulk::Compressor<'static>> = RefCell::default();
}

/// The events of one command.
#[derive(Debug)]
pub(super) struct Stream {
    state: Mutex<State>,
    /// The number of the newest event, and whether it was the last.
    newest: watch::Sender<(u64, bool)>,
    path: PathBuf,
    cap: u64,
}

#[derive(Debug, Default)]
struct State {
    file: Option<File>,
    /// Where each event's frame begins in the spool, from event 1 on; the last entry is the end.
    places: Vec<u64>,
    recent: VecDeque<Bytes>,
    recent_bytes: usize,
    count: u64,
    /// The events behind this one did not fit under the cap.
    cut: bool,
    broken: bool,
}

impl Stream {
    /// An empty stream that spools to a file, which is made with the first event.
    pub(super) fn new(path: PathBuf, cap: u64) -> Self {
        Self { state: Mutex::default(), newest: watch::channel((0, false)).0, path, cap }
    }

    /// The stream of a command that has ended, or was cut off by the end of its service: as its spool tells.
    pub(super) fn load(path: PathBuf, cap: u64, ended: bool) -> Self {
        let state = State::load(&path);
        let newest = watch::channel((state.count, ended)).0;
        Self { state: Mutex::new(state), newest, path, cap }
    }

    /// Adds an event, whose JSON lacks `n` and `t`, and returns its number.
    pub(super) fn push(&self, body: &[u8], last: bool) -> u64 {
        let mut state = self.locked();
        let n = state.count + 1;
        let mut json = BytesMut::with_capacity(body.len() + 64);
        json.put_slice(format!(r#"{{"n":{n},"t":"{:.6}","#, Timestamp::now()).as_bytes());
        json.put_slice(body.get(1..).unwrap_or_default());
        let json = json.freeze();
        if let Err(error) = state.spool(&self.path, &json, self.cap)
            && !state.broken
        {
            state.broken = true;
            tracing::error!(%error, spool = %self.path.display(), "events are not kept");
        }
        state.keep(json);
        state.count = n;
        drop(state);
        self.newest.send_replace((n, last));
        n
    }

    /// The number of the newest event.
    pub(super) fn count(&self) -> u64 {
        self.locked().count
    }

    /// Tells of every new event.
    pub(super) fn watch(&self) -> watch::Receiver<(u64, bool)> {
        self.newest.subscribe()
    }

    /// An event's JSON; `None` when it is not there, or was cut from the spool and is no longer in memory.
    pub(super) fn event(&self, n: u64) -> Option<Bytes> {
        let state = self.locked();
        let oldest = state.count + 1 - state.recent.len() as u64;
        if n >= oldest && n <= state.count {
            return usize::try_from(n - oldest).ok().and_then(|at| state.recent.get(at)).cloned();
        }
        let at = usize::try_from(n).ok()?.checked_sub(1)?;
        let (start, end) = (*state.places.get(at)?, *state.places.get(at + 1)?);
        let file = state.file.as_ref()?.try_clone().ok()?;
        drop(state);
        let mut frame = vec![0; usize::try_from(end - start).ok()?];
        file.read_exact_at(&mut frame, start).ok()?;
        unframed(&frame).map(|(json, _)| json.into())
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn keep(&mut self, json: Bytes) {
        self.recent_bytes += json.len();
        self.recent.push_back(json);
        // What the spool does not hold stays reachable only here, so the newest always stays.
        while self.recent_bytes > IN_MEMORY && self.recent.len() > 1 {
            if let Some(old) = self.recent.pop_front() {
                self.recent_bytes -= old.len();
            }
        }
    }

    fn spool(&mut self, path: &Path, json: &[u8], cap: u64) -> io::Result<()> {
        if self.cut || self.broken {
            return Ok(());
        }
        if self.file.is_none() {
            let mut options = private_file();
            options.read(true).write(true).create(true).truncate(true);
            let file = match options.open(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if let Some(folder) = path.parent() {
                        crate::host::private_folder(folder)?;
                    }
                    options.open(path)?
                }
                other => other?,
            };
            self.file = Some(file);
            self.places.push(0);
        }
        let begin = self.places.last().copied().unwrap_or(0);
        let packed = PACKER.with_borrow_mut(|packer| packer.compress(json))?;
        if begin + packed.len() as u64 > cap {
            self.cut = true;
            return Ok(());
        }
        let mut frame = Vec::with_capacity(packed.len() + 8);
        frame.extend_from_slice(&u32::try_from(packed.len()).unwrap_or(u32::MAX).to_le_bytes());
        frame.extend_from_slice(&crc32fast::hash(&packed).to_le_bytes());
        frame.extend_from_slice(&packed);
        if let Some(file) = &mut self.file {
            file.write_all_at(&frame, begin)?;
        }
        self.places.push(begin + frame.len() as u64);
        Ok(())
    }

    fn load(path: &Path) -> Self {
        let mut state = Self::default();
        let Ok(mut file) = private_file().read(true).write(true).open(path) else { return state };
        state.places.push(0);
        let mut at = 0;
        let mut head = [0; 8];
        while file.read_exact(&mut head).is_ok() {
            let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
            if length > MAX_FRAME {
                break;
            }
            let mut packed = vec![0; length as usize];
            let mut whole = head.to_vec();
            if file.read_exact(&mut packed).is_err() {
                break;
            }
            whole.extend_from_slice(&packed);
            if unframed(&whole).is_none() {
                break;
            }
            at += whole.len() as u64;
            state.places.push(at);
            state.count += 1;
        }
        state.file = Some(file);
        state
    }
}

/// The JSON of a frame, and its length with the head; `None` when it is damaged.
fn unframed(frame: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (length, rest) = frame.split_first_chunk::<4>()?;
    let (checksum, rest) = rest.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length);
    let packed = rest.get(..length as usize)?;
    if length > MAX_FRAME || crc32fast::hash(packed) != u32::from_le_bytes(*checksum) {
        return None;
    }
    let mut json = Vec::new();
    zstd::Decoder::new(packed).ok()?.take(64 << 20).read_to_end(&mut json).ok()?;
    Some((json, packed.len() + 8))
}
