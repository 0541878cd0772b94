//! Where a package is made: in the agent's own folder, from which it goes once it was fetched, or in a folder of the device, where
//! it stays. Until it is whole it is called `.NAME.part`, and what an agent that died left half is removed at the next start.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};

use crate::agent::context::Context;
use crate::agent::path::{key, problem};
use crate::agent::platform::{Root, room};
use crate::host::{private_file, private_folder};
use crate::protocol::{CommandId, Problem};

/// A package needs so much room at least: lists, and logs of a usual size.
const ROOM: u64 = 256 * 1024 * 1024;
/// In the agent's folder.
const FOLDER: &str = "packages";

/// A place for one package. Dropping it removes what is not to stay.
#[derive(Debug)]
pub struct Place {
    folder: OwnedFd,
    part: CString,
    name: CString,
    path: PathBuf,
    /// What says where the half package is, for an agent that comes after this one.
    mark: PathBuf,
    stays: bool,
    has_name: bool,
}

impl Place {
    /// A place in `output_folder`, or in the agent's own folder; there has to be room.
    ///
    /// # Errors
    /// When there is no such folder, it cannot be written, or there is no room.
    pub fn of(ctx: &Context, name: &str, output_folder: Option<&Path>) -> Result<Self, Problem> {
        let own = ctx.agent.folder.join(FOLDER);
        private_folder(&own).map_err(|error| problem(&own, &error))?;
        let own = own.canonicalize().map_err(|error| problem(&own, &error))?;
        let (folder, path) = match output_folder {
            Some(path) => (ctx.agent.root.open_real_folder(path).map_err(|error| problem(path, &error))?, path),
            None => (Root::live().open_real_folder(&own).map_err(|error| problem(&own, &error))?, own.as_path()),
        };
        let free = room(folder.as_fd());
        if free < ROOM {
            let message = format!(
                "{}: a package needs {} MB, and {} MB are free; -output_folder names another place",
                key(path),
                ROOM >> 20,
                free >> 20
            );
            return Err(Problem::new("disk_full", message).at(key(path)));
        }
        let named = |text: String| CString::new(text).map_err(|_| Problem::new("internal", "a name holds a zero byte"));
        let mark = own.join(format!("{}.where", ctx.command.command_id));
        let place = Self {
            folder,
            part: named(format!(".{name}.part"))?,
            name: named(name.to_owned())?,
            path: path.join(name),
            mark,
            stays: output_folder.is_some(),
            has_name: false,
        };
        place.write_mark().map_err(|error| problem(&place.mark, &error))?;
        Ok(place)
    }

    fn write_mark(&self) -> io::Result<()> {
        let part = self.path.with_file_name(std::ffi::OsStr::from_bytes(self.part.as_bytes()));
        let mut mark = private_file().write(true).create_new(true).open(&self.mark)?;
        mark.write_all(key(&part).as_bytes())?;
        mark.sync_all()
    }

    /// Where it will be.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file that it is made in.
    pub(super) fn file(&self) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.folder, &self.part, flags, Mode::RUSR | Mode::WUSR)?.into())
    }

    /// It is whole: it gets its name, never over what is there.
    ///
    /// # Errors
    /// When there is something of that name.
    pub fn keep(&mut self) -> Result<(), Problem> {
        let renamed = rustix::fs::renameat_with(&self.folder, &self.part, &self.folder, &self.name, RenameFlags::NOREPLACE);
        let kept = renamed.and_then(|()| rustix::fs::fsync(&self.folder));
        kept.map_err(|error| problem(&self.path, &error.into()))?;
        self.has_name = true;
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let name = if self.has_name { &self.name } else { &self.part };
        // One that nobody could remove is removed at the next start: its mark stays then.
        let is_gone = (self.has_name && self.stays) || rustix::fs::unlinkat(&self.folder, name, AtFlags::empty()).is_ok();
        if is_gone || !self.has_name {
            let _ = std::fs::remove_file(&self.mark);
        }
    }
}

/// The name of a package.
#[must_use]
pub fn package_name(device: &str, command: CommandId, now: jiff::Timestamp) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' };
    let device: String = device.chars().take(64).map(plain).collect();
    let id = command.to_string();
    let tail = id.get(id.len().saturating_sub(6)..).unwrap_or_default();
    format!("collect-{device}-{}-{tail}.zip", now.strftime("%Y%m%dT%H%M%SZ"))
}

/// Removes what an agent that died left of its packages.
pub fn tidy(agent: &Path, root: &Root) {
    let own = agent.join(FOLDER);
    let entries = std::fs::read_dir(&own).into_iter().flatten().flatten().map(|entry| entry.path());
    let (marks, packages): (Vec<PathBuf>, Vec<PathBuf>) =
        entries.partition(|path| path.extension().is_some_and(|extension| extension == "where"));
    for package in packages {
        report(std::fs::remove_file(&package), &package);
    }
    for mark in marks {
        let part = std::fs::read_to_string(&mark).map(|text| root.resolve("/", &text)).unwrap_or_default();
        let is_part = part
            .file_name()
            .is_some_and(|name| name.as_bytes().starts_with(b".collect-") && name.as_bytes().ends_with(b".zip.part"));
        if let (true, Some(folder), Some(name)) = (is_part, part.parent(), part.file_name())
            && folder != own
            && let Ok(folder) = root.open_real_folder(folder)
        {
            match rustix::fs::unlinkat(&folder, name, AtFlags::empty()) {
                Ok(()) | Err(rustix::io::Errno::NOENT) => {}
                Err(error) => report(Err(error.into()), &part),
            }
        }
        report(std::fs::remove_file(&mark), &mark);
    }
}

fn report(removed: io::Result<()>, path: &Path) {
    if let Err(error) = removed {
        tracing::error!(%error, path = %path.display(), "what is left of a package cannot be removed");
    }
}
