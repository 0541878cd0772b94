//! A command's events on disk: a file of frames, whose numbers rise. A damaged or cut-off file yields every frame that is whole.

use std::fs::File;
use std::io::{self, BufReader, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::frame::{HEAD, MAX_EVENT, framed, next_frame, search, whole};
use crate::host::{private_file, private_folder};

/// The frames of one file.
#[derive(Debug, Default)]
pub(super) struct Spool {
    file: Option<Arc<File>>,
    /// Every whole frame, in order.
    places: Vec<Place>,
    /// Where the next frame goes.
    end: u64,
    /// The last frames, as far as they are not written yet.
    waiting: Vec<u8>,
    /// How many they are.
    unwritten: usize,
    /// Bytes were found that are no whole frame.
    damaged: bool,
}

/// Where a frame is.
#[derive(Debug, Clone, Copy)]
struct Place {
    n: u64,
    at: u64,
    length: u32,
}

/// A frame that can be read without holding anything up.
#[derive(Debug)]
pub(super) struct Frame {
    /// The number of its event.
    pub(super) n: u64,
    file: Arc<File>,
    at: u64,
    length: u32,
}

impl Spool {
    /// The frames of a file; none of one that is not there.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        Self::of(File::open(path)?)
    }

    /// The same, to go on with: what is damaged at its end is cut off.
    ///
    /// # Errors
    /// When it is there and cannot be read or written.
    pub(super) fn resume(path: &Path) -> io::Result<Self> {
        let file = match private_file().read(true).write(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            other => other?,
        };
        let spool = Self::of(file)?;
        if let Some(file) = &spool.file {
            file.set_len(spool.end)?;
        }
        Ok(spool)
    }

    fn of(file: File) -> io::Result<Self> {
        let size = file.metadata()?.len();
        let mut spool = Self::default();
        let mut reader = BufReader::with_capacity(256 << 10, &file);
        let (mut at, mut frame) = (0, Vec::new());
        while at < size {
            match next_frame(&mut reader, size - at, &mut frame)? {
                Some(n) if spool.newest() < n => {
                    let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
                    spool.places.push(Place { n, at, length });
                    at += (HEAD + frame.len()) as u64;
                    spool.end = at;
                }
                _ => {
                    spool.damaged = true;
                    let Some(next) = search(&file, at + 1, size)? else { break };
                    at = next;
                    reader.seek(SeekFrom::Start(at))?;
                }
            }
        }
        drop(reader);
        spool.file = Some(Arc::new(file));
        Ok(spool)
    }

    /// Adds an event behind the others, to be written with those that follow; `false` when the file would grow beyond `room`.
    ///
    /// # Errors
    /// When the event is too large; the next may succeed.
    pub(super) fn add(&mut self, n: u64, json: &[u8], room: u64) -> io::Result<bool> {
        let frame = framed(n, json)?;
        if self.end + frame.len() as u64 > room {
            return Ok(false);
        }
        let length = u32::try_from(frame.len() - HEAD).unwrap_or(u32::MAX);
        self.places.push(Place { n, at: self.end, length });
        self.end += frame.len() as u64;
        self.waiting.extend_from_slice(&frame);
        self.unwritten += 1;
        Ok(true)
    }

    /// Writes what was added, making the file with the first. What is not written whole leaves nothing.
    ///
    /// # Errors
    /// As the system says, with the number of the first event that is not kept; the next may succeed.
    pub(super) fn write(&mut self, path: &Path) -> Result<(), (u64, io::Error)> {
        let waiting = std::mem::take(&mut self.waiting);
        let places = self.places.split_off(self.places.len() - std::mem::take(&mut self.unwritten));
        let Some(first) = places.first().copied() else { return Ok(()) };
        self.end = first.at;
        let file = self.writable(path).map_err(|error| (first.n, error))?;
        let whole = self.write_at_end(&file, &waiting);
        if whole.is_ok() {
            self.places.extend(places);
            self.waiting = waiting;
            self.waiting.clear();
            return Ok(());
        }
        // A full disk may yet have room for some.
        let mut lost = None;
        for place in places {
            let from = usize::try_from(place.at - first.at).unwrap_or(usize::MAX);
            let frame = waiting.get(from..).and_then(|rest| rest.get(..HEAD + place.length as usize)).unwrap_or_default();
            let at = self.end;
            match self.write_at_end(&file, frame) {
                Ok(()) => self.places.push(Place { at, ..place }),
                Err(error) => lost = lost.or(Some((place.n, error))),
            }
        }
        lost.map_or(Ok(()), Err)
    }

    fn write_at_end(&mut self, file: &File, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = file.write_all_at(bytes, self.end) {
            // Half a frame would read as damage. Cutting needs no room, also on a full disk.
            let _ = file.set_len(self.end);
            return Err(error);
        }
        self.end += bytes.len() as u64;
        Ok(())
    }

    fn writable(&mut self, path: &Path) -> io::Result<Arc<File>> {
        if let Some(file) = &self.file {
            return Ok(Arc::clone(file));
        }
        let mut options = private_file();
        options.read(true).write(true).create(true).truncate(true);
        let file = match options.open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Some(folder) = path.parent() {
                    private_folder(folder)?;
                }
                options.open(path)?
            }
            other => other?,
        };
        let file = Arc::new(file);
        self.file = Some(Arc::clone(&file));
        Ok(file)
    }

    /// The frame of event `n`, or of the first behind it that is written.
    pub(super) fn at_or_behind(&self, n: u64) -> Option<Frame> {
        let written = self.places.get(..self.places.len() - self.unwritten)?;
        let place = written.get(written.partition_point(|place| place.n < n))?;
        let file = Arc::clone(self.file.as_ref()?);
        Some(Frame { n: place.n, file, at: place.at, length: place.length })
    }

    /// The number of the last event that is whole.
    pub(super) fn newest(&self) -> u64 {
        self.places.last().map_or(0, |place| place.n)
    }

    /// How long the file is, once all is written.
    pub(super) fn bytes(&self) -> u64 {
        self.end
    }

    /// Whether bytes were found that are no whole frame.
    pub(super) fn is_damaged(&self) -> bool {
        self.damaged
    }
}

impl Frame {
    /// The event's JSON; `None` when it cannot be read any more.
    pub(super) fn json(&self) -> Option<Vec<u8>> {
        let mut bytes = vec![0; HEAD + self.length as usize];
        self.file.read_exact_at(&mut bytes, self.at).ok()?;
        let (n, packed) = whole(&bytes)?;
        if n != self.n {
            return None;
        }
        // What was written by this program says how long it is unpacked; memory is taken for no more than that.
        let size = zstd::zstd_safe::get_frame_content_size(packed).ok().flatten()?;
        let size = usize::try_from(size).ok().filter(|size| *size <= MAX_EVENT)?;
        zstd::bulk::decompress(packed, size).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(n: u64) -> String {
        format!(r#"{{"n":{n},"kind":"rows","rows":["{}"]}}"#, "abc".repeat(usize::try_from(n).unwrap() % 50))
    }

    fn append(spool: &mut Spool, path: &Path, n: u64, json: &[u8]) {
        assert!(spool.add(n, json, u64::MAX).unwrap());
        spool.write(path).unwrap();
    }

    fn write(path: &Path, count: u64) {
        let mut spool = Spool::default();
        for n in 1..=count {
            append(&mut spool, path, n, event(n).as_bytes());
        }
    }

    fn read(path: &Path) -> (Vec<u64>, bool) {
        let spool = Spool::read(path).unwrap();
        let mut numbers = Vec::new();
        let mut next = 1;
        while let Some(frame) = spool.at_or_behind(next) {
            assert_eq!(String::from_utf8(frame.json().unwrap()).unwrap(), event(frame.n));
            numbers.push(frame.n);
            next = frame.n + 1;
        }
        (numbers, spool.is_damaged())
    }

    #[test]
    fn what_was_written_is_read_and_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/folder/7");
        write(&path, 20);
        assert_eq!(read(&path), ((1..=20).collect(), false));
        let mut spool = Spool::resume(&path).unwrap();
        append(&mut spool, &path, 30, event(30).as_bytes());
        assert_eq!(read(&path), ((1..=20).chain([30]).collect(), false));
        assert!(Spool::read(&folder.path().join("none")).is_err());
    }

    #[test]
    fn what_is_added_is_written_together_and_read_only_then() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("7");
        let mut spool = Spool::default();
        for n in 1..=3 {
            assert!(spool.add(n, event(n).as_bytes(), u64::MAX).unwrap());
        }
        assert!(spool.at_or_behind(1).is_none() && !path.exists());
        assert!(!spool.add(4, event(4).as_bytes(), spool.bytes()).unwrap());
        spool.write(&path).unwrap();
        assert_eq!(spool.at_or_behind(2).unwrap().json().unwrap(), event(2).into_bytes());
        assert_eq!(read(&path), (vec![1, 2, 3], false));
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("7");
        std::fs::create_dir(&path).unwrap();
        let mut spool = Spool::default();
        for n in 1..=2 {
            assert!(spool.add(n, event(n).as_bytes(), u64::MAX).unwrap());
        }
        assert_eq!(spool.write(&path).unwrap_err().0, 1);
        assert_eq!((spool.bytes(), spool.newest()), (0, 0));
        std::fs::remove_dir(&path).unwrap();
        append(&mut spool, &path, 3, event(3).as_bytes());
        assert_eq!(read(&path), (vec![3], false));
    }

    #[test]
    fn an_event_that_is_too_large_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("7");
        let mut spool = Spool::default();
        assert!(spool.add(1, &vec![b'x'; MAX_EVENT + 1], u64::MAX).is_err());
        // The largest that is allowed, of bytes that do not shrink.
        let mut state = 1u64;
        let words = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state ^ (state >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9).to_le_bytes()
        });
        let noise: Vec<u8> = words.flatten().take(MAX_EVENT).collect();
        append(&mut spool, &path, 2, &noise);
        let spool = Spool::read(&path).unwrap();
        assert!(!spool.is_damaged());
        assert_eq!(spool.at_or_behind(1).unwrap().json().unwrap(), noise);
    }

    #[test]
    fn a_frame_that_promises_too_much_is_damage() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("7");
        // A gigabyte of zeros packs into a few kilobytes: it is not unpacked.
        let bomb = zstd::bulk::compress(&vec![0; MAX_EVENT + 1], 1).unwrap();
        let content = [&1u64.to_le_bytes()[..], &bomb].concat();
        let head = [u32::try_from(content.len()).unwrap().to_le_bytes(), crc32fast::hash(&content).to_le_bytes()].concat();
        std::fs::write(&path, [head, content].concat()).unwrap();
        assert_eq!(Spool::read(&path).unwrap().at_or_behind(1).unwrap().json(), None);
        std::fs::write(&path, [u32::MAX.to_le_bytes(), [0; 4]].concat()).unwrap();
        assert!(Spool::read(&path).unwrap().is_damaged());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn damage_costs_no_more_than_the_frames_it_touches(
            count in 1u64..40, at in 0.0..1.0f64, length in 1usize..400, byte in any::<u8>(), cut in any::<bool>(),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("7");
            write(&path, count);
            let mut bytes = std::fs::read(&path).unwrap();
            let all = Spool::read(&path).unwrap().places;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
            let at = (bytes.len() as f64 * at) as usize;
            let end = if cut { bytes.len() } else { bytes.len().min(at + length) };
            let before = bytes.clone();
            if cut { bytes.truncate(at) } else { bytes[at..end].fill(byte) }
            std::fs::write(&path, &bytes).unwrap();
            let touched = |place: &Place| {
                let (from, to) = (usize::try_from(place.at).unwrap(), usize::try_from(place.at).unwrap() + HEAD + place.length as usize);
                from < end && at < to && bytes.get(from..to) != before.get(from..to)
            };
            let expected: Vec<u64> = all.iter().filter(|place| !touched(place)).map(|place| place.n).collect();
            prop_assert_eq!(read(&path).0, expected);
        }
    }
}
