//! What a hive or a log is read from, and numbers as both keep them: little-endian, 0 where the bytes end before.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::agent::platform::windows_root::bytes::bytes_at;

/// Bytes that are read from any place.
pub(super) trait Bytes: Send {
    /// How many there are.
    fn length(&self) -> io::Result<u64>;
    /// Fills `into` from there on; fails where they end before.
    fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()>;
}

impl Bytes for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(into, at)
    }
}

impl Bytes for Vec<u8> {
    fn length(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        let from = usize::try_from(at).ok().and_then(|at| self.get(at..)?.get(..into.len()));
        into.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// Of the first 127 numbers of the base block.
pub(super) fn checksum(head: &[u8]) -> u32 {
    let sum = head.chunks_exact(4).take(127).fold(0, |sum, number| sum ^ u32_at(number, 0));
    match sum {
        0 => 1,
        u32::MAX => u32::MAX - 1,
        sum => sum,
    }
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes_at(bytes, at).map_or(0, u16::from_le_bytes)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes_at(bytes, at).map_or(0, u32::from_le_bytes)
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes_at(bytes, at).map_or(0, u64::from_le_bytes)
}
