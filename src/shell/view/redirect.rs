//! The file of a redirect. An answer replaces a file only when it is whole: until then it is written beside it. What is no
//! plain file (a device, a FIFO, a link) is opened and written as it is.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::grammar::Redirect;
use crate::host::{local_path, private_file};
use crate::protocol::Problem;

/// A redirect whose target can be written, as far as that can be known beforehand.
#[derive(Debug)]
pub struct RedirectFile {
    path: PathBuf,
    append: bool,
    way: Way,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Beside the target, then in its place (or behind its content).
    Beside,
    /// Into the target itself.
    Into,
}

/// What became of an answer.
#[derive(Debug)]
pub(super) enum Kept {
    /// It is in the file.
    Whole,
    /// Nothing of it came: the file, if there is one, is as it was.
    Nothing {
        /// The file.
        file: PathBuf,
    },
    /// It did not come whole: the file is as it was.
    Partial {
        /// The file.
        file: PathBuf,
        /// What came.
        partial: PathBuf,
    },
}

impl Kept {
    /// What a person should know of it.
    pub(super) fn note(&self) -> Option<String> {
        match self {
            Self::Whole => None,
            Self::Nothing { file } if file.exists() => Some(format!("{} is as it was: nothing came", file.display())),
            Self::Nothing { file } => Some(format!("{} is not written: nothing came", file.display())),
            Self::Partial { file, partial } => {
                let how = if file.exists() { "as it was" } else { "not written" };
                Some(format!("{} is {how}; what came is in {}", file.display(), partial.display()))
            }
        }
    }
}

/// A redirect being written.
#[derive(Debug)]
pub(super) struct Writer {
    redirect: RedirectFile,
    file: File,
    /// The name it is written under, until it is whole.
    beside: Option<PathBuf>,
}

impl RedirectFile {
    /// Tests a redirect before its command is sent: the folder must be there and take a file.
    ///
    /// # Errors
    /// `redirect`, with what stands in the way.
    pub fn test(redirect: &Redirect) -> Result<Self, Problem> {
        let path = local_path(&redirect.target);
        let about = |error: &io::Error| {
            let message = format!("{} cannot be written: {}", redirect.target, reason(error));
            Problem::new("redirect", message).about(redirect.target.clone())
        };
        let way = match std::fs::symlink_metadata(&path) {
            Ok(facts) if facts.is_dir() => return Err(about(&io::Error::from(io::ErrorKind::IsADirectory))),
            Ok(facts) if facts.is_symlink() => match std::fs::metadata(&path) {
                Ok(target) if target.is_dir() => return Err(about(&io::Error::from(io::ErrorKind::IsADirectory))),
                Ok(_) => Way::Into,
                // As a shell does: what it names is made. Its folder must be there.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let end = end_of_link(&path).map_err(|error| about(&error))?;
                    std::fs::metadata(folder_of(&end)).map_err(|error| about(&error))?;
                    Way::Into
                }
                Err(error) => return Err(about(&error)),
            },
            Ok(facts) if facts.is_file() && facts.nlink() == 1 => Way::Beside,
            Ok(_) => Way::Into,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Way::Beside,
            Err(error) => return Err(about(&error)),
        };
        let file = Self { path, append: redirect.append, way };
        if way == Way::Beside {
            let (probe, name) = file.create_beside().map_err(|error| about(&error))?;
            drop(probe);
            std::fs::remove_file(name).map_err(|error| about(&error))?;
        }
        Ok(file)
    }

    pub(super) fn open(self) -> io::Result<Writer> {
        match self.way {
            Way::Beside => {
                let (file, name) = self.create_beside()?;
                Ok(Writer { redirect: self, file, beside: Some(name) })
            }
            Way::Into => {
                let file = open_as_it_is(&self.path, self.append)?;
                Ok(Writer { redirect: self, file, beside: None })
            }
        }
    }

    fn create_beside(&self) -> io::Result<(File, PathBuf)> {
        let name = self.path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::IsADirectory))?;
        for n in 0..1000_u32 {
            let mut beside = std::ffi::OsString::from(".");
            beside.push(name);
            beside.push(format!(".{}-{n}.lrsh", std::process::id()));
            let beside = self.path.with_file_name(beside);
            match private_file().read(true).write(true).create_new(true).open(&beside) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => return Ok((other?, beside)),
            }
        }
        Err(io::Error::from(io::ErrorKind::AlreadyExists))
    }
}

impl Writer {
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Puts the answer in its place, or keeps what came of it.
    pub(super) fn end(mut self, whole: bool) -> io::Result<Kept> {
        let Some(beside) = self.beside.take() else {
            return Ok(Kept::Whole);
        };
        let target = self.redirect.path.clone();
        let done = if !whole {
            Err(io::Error::other("the answer did not come whole"))
        } else if self.redirect.append {
            append(&mut self.file, &target).and_then(|()| std::fs::remove_file(&beside))
        } else {
            replace(&self.file, &beside, &target)
        };
        match done {
            Ok(()) => Ok(Kept::Whole),
            Err(_) if !whole && self.file.metadata()?.len() == 0 => {
                std::fs::remove_file(&beside)?;
                Ok(Kept::Nothing { file: target })
            }
            Err(error) => {
                let mut name = target.clone().into_os_string();
                name.push(".partial");
                let partial = PathBuf::from(name);
                std::fs::rename(&beside, &partial)?;
                if whole { Err(error) } else { Ok(Kept::Partial { file: target, partial }) }
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Only a writer that was never ended still has it: nothing of it is wanted.
        if let Some(beside) = &self.beside {
            let _ = std::fs::remove_file(beside);
        }
    }
}

/// Opens what is no plain file. A FIFO that nobody reads is told, not waited for.
fn open_as_it_is(path: &Path, append: bool) -> io::Result<File> {
    use rustix::fs::OFlags;
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    let mut options = OpenOptions::new();
    options.write(true).append(append).truncate(!append).custom_flags(flags);
    if path.is_symlink() {
        // What a dangling link names is made.
        options.create(true).mode(0o600);
    }
    let file = options.open(path).map_err(|error| match error.raw_os_error() {
        Some(code) if code == rustix::io::Errno::NXIO.raw_os_error() => {
            io::Error::other(format!("{} is a FIFO that nobody reads", path.display()))
        }
        _ => error,
    })?;
    let now = rustix::fs::fcntl_getfl(&file)?;
    rustix::fs::fcntl_setfl(&file, now - OFlags::NONBLOCK)?;
    Ok(file)
}

fn replace(file: &File, beside: &Path, target: &Path) -> io::Result<()> {
    if let Ok(old) = std::fs::metadata(target) {
        // Who could read the old one can read the new one.
        file.set_permissions(std::fs::Permissions::from_mode(old.mode() & 0o777))?;
    }
    file.sync_all()?;
    std::fs::rename(beside, target)?;
    File::open(folder_of(target))?.sync_all()
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// What a link that leads nowhere names, through the links on the way.
fn end_of_link(link: &Path) -> io::Result<PathBuf> {
    let mut end = link.to_owned();
    // The kernel follows as many; a ring of links is told by it before.
    for _ in 0..40 {
        match std::fs::read_link(&end) {
            Ok(next) => end = folder_of(&end).join(next),
            Err(_) => return Ok(end),
        }
    }
    Err(io::Error::other("too many links"))
}

/// Appends a whole answer under a lock, so that two shells never mix theirs.
fn append(file: &mut File, target: &Path) -> io::Result<()> {
    let mut end = private_file().append(true).create(true).open(target)?;
    end.lock()?;
    file.rewind()?;
    io::copy(&mut file.take(u64::MAX), &mut end)?;
    end.sync_all()
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "its folder does not exist".to_owned(),
        io::ErrorKind::PermissionDenied => "no permission there".to_owned(),
        io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(folder: &Path, name: &str, append: bool, whole: bool, text: &str) -> Kept {
        let target = folder.join(name).to_str().unwrap().to_owned();
        let mut writer = RedirectFile::test(&Redirect { target, append }).unwrap().open().unwrap();
        writer.write(text.as_bytes()).unwrap();
        writer.end(whole).unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_only_by_a_whole_answer() {
        let folder = tempfile::tempdir().unwrap();
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(matches!(written(folder.path(), "a", false, true, "one"), Kept::Whole));
        assert!(matches!(written(folder.path(), "a", false, false, "two"), Kept::Partial { .. }));
        assert_eq!((read("a"), read("a.partial")), ("one".to_owned(), "two".to_owned()));
        written(folder.path(), "a", true, true, "more");
        assert_eq!(read("a"), "onemore");
        assert_eq!(names(folder.path()), ["a", "a.partial"]);
    }

    #[test]
    fn links_and_devices_are_written_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("real"), "old").unwrap();
        std::os::unix::fs::symlink("real", folder.path().join("link")).unwrap();
        written(folder.path(), "link", false, true, "new");
        assert_eq!(std::fs::read_to_string(folder.path().join("real")).unwrap(), "new");
        assert!(folder.path().join("link").is_symlink());
        let null = Redirect { target: "/dev/null".to_owned(), append: false };
        RedirectFile::test(&null).unwrap().open().unwrap().end(true).unwrap();
    }

    #[test]
    fn a_folder_that_is_not_there_is_told_before() {
        let missing = Redirect { target: "/nonexistent/x".to_owned(), append: false };
        assert!(RedirectFile::test(&missing).unwrap_err().message.contains("does not exist"));
        let folder = Redirect { target: "/".to_owned(), append: false };
        assert!(RedirectFile::test(&folder).is_err());
    }
}
