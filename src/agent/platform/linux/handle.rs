//! What no name tells of a file: what its file system itself finds it by (name_to_handle_at(2)), so that a file which has lost one
//! of several names can get it back; and whether anybody has it open for writing (`F_SETLEASE` of fcntl(2)).

#![allow(unsafe_code, reason = "no library has these calls")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// `F_SETSIG` of asm-generic/fcntl.h: which signal tells that a lease is broken.
const F_SETSIG: libc::c_int = 10;
/// The longest handle (`MAX_HANDLE_SZ` of fcntl.h).
const MAX: usize = 128;

/// `struct file_handle` with room for the longest.
#[repr(C)]
struct Raw {
    bytes: libc::c_uint,
    kind: libc::c_int,
    handle: [u8; MAX],
}

/// The handle of an open file, as text that [`open_by_handle`] takes: its type and its bytes, in hexadecimal.
///
/// # Errors
/// As name_to_handle_at says; `EOPNOTSUPP` where the file system has none, overlayfs among them.
pub fn handle_of(file: BorrowedFd<'_>) -> io::Result<String> {
    let mut raw = Raw { bytes: libc::c_uint::try_from(MAX).unwrap_or(0), kind: 0, handle: [0; MAX] };
    let mut mount = 0;
    // SAFETY: `raw` is laid out as the call wants it and says how much room it has; the name is an empty C string.
    let done = unsafe {
        libc::name_to_handle_at(
            file.as_raw_fd(),
            c"".as_ptr(),
            (&raw mut raw).cast::<libc::file_handle>(),
            &raw mut mount,
            libc::AT_EMPTY_PATH,
        )
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    let length = usize::try_from(raw.bytes).unwrap_or(0);
    let handle = crate::agent::digest::hex(raw.handle.get(..length).unwrap_or_default());
    Ok(format!("{:x}:{handle}", raw.kind))
}

/// Opens the file of a handle for reading, on the file system that an open folder lies on. Needs the right to read every file.
///
/// # Errors
/// As open_by_handle_at says; `ESTALE` when the file is no more.
pub fn open_by_handle(folder: BorrowedFd<'_>, handle: &str) -> io::Result<OwnedFd> {
    let mut raw = read(handle).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "this is no file handle"))?;
    let flags = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NOCTTY;
    // SAFETY: `raw` is laid out as the call wants it and says how long its handle is.
    let fd = unsafe { libc::open_by_handle_at(folder.as_raw_fd(), (&raw mut raw).cast::<libc::file_handle>(), flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just opened it, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Whether anybody has a file open for writing, or in memory so. `file` is open for reading alone. `false` where that cannot be
/// told: of another user's file, on file systems without leases.
#[must_use]
pub fn is_written_to(file: BorrowedFd<'_>) -> bool {
    // Whoever opens it for writing in between is waited for by the kernel, and told to us: by a signal that nobody minds, instead
    // of SIGIO, which would end this process.
    let call = |command, argument: libc::c_int| {
        // SAFETY: all three commands take a number and change nothing but this open file.
        unsafe { libc::fcntl(file.as_raw_fd(), command, argument) }
    };
    if call(F_SETSIG, libc::SIGURG) != 0 {
        return false;
    }
    let refused = call(libc::F_SETLEASE, libc::F_RDLCK) != 0;
    let written = refused && io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock;
    call(libc::F_SETLEASE, libc::F_UNLCK);
    written
}

fn read(text: &str) -> Option<Raw> {
    let (kind, handle) = text.split_once(':')?;
    let kind = libc::c_int::from_str_radix(kind, 16).ok()?;
    let mut raw = Raw { bytes: libc::c_uint::try_from(handle.len() / 2).ok()?, kind, handle: [0; MAX] };
    if handle.len() > MAX * 2 || !handle.len().is_multiple_of(2) {
        return None;
    }
    for (at, byte) in raw.handle.iter_mut().enumerate().take(handle.len() / 2) {
        *byte = u8::from_str_radix(handle.get(at * 2..at * 2 + 2)?, 16).ok()?;
    }
    Some(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_handles_are_none() {
        for text in ["", "1", "x:00", "1:0", "1:zz", "1:é0", &format!("1:{}", "00".repeat(MAX + 1))] {
            assert!(read(text).is_none(), "{text}");
        }
        let raw = read("81:0a0b").unwrap();
        assert_eq!((raw.kind, raw.bytes, raw.handle[0], raw.handle[1]), (0x81, 2, 10, 11));
    }
}
