//! Where removed things are kept: private, never executable, on the file system they come from, so that they are moved and not
//! copied, and keep everything that hangs on them.

mod compare;
mod copy;
mod line_back;
mod look;
mod put_back;
mod rewrite;
mod take;

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;
use xattr::FileExt as _;

use super::digest::hex;
use super::journal::{Disk, Place, Quarantined, Shelf, agent_folder, private_folder};
use super::path::{key, of_key, problem};
use super::platform::{Root, mount_of, mount_root};
use crate::protocol::Problem;

pub use copy::{Relink, Restore, look_relink, look_restore};
pub use line_back::{LineBack, look_line_back};
pub use look::look;
pub use put_back::{PutBack, look_put_back};
pub use rewrite::{PutOver, Rewrite, look_put_over, look_rewrite};
pub use take::{Asked, Take, plan, refuse_made_up};

/// How much is kept at most, in bytes, unless `agent.toml` says otherwise.
pub const CAP: u64 = 10 * 1024 * 1024 * 1024;
/// What is copied at once.
const BLOCK: usize = 256 * 1024;
/// Where an access list hangs on a file, as xattr(7) names it.
const ACCESS_LIST: &str = "system.posix_acl_access";
/// The mode of what is kept: to be read by its owner alone, and by nobody run.
pub const SEALED: u32 = 0o400;

/// The quarantine of one agent.
#[derive(Debug)]
pub struct Quarantine {
    /// The agent's folder.
    pub folder: PathBuf,
    /// How much is kept at most.
    pub cap: u64,
    /// What it writes through.
    pub disk: Arc<dyn Disk>,
}

/// Takes away the access list that a new file has from its folder's default one: the file that it stands for has none.
fn without_inherited_list(file: &File) {
    if let Err(error) = file.remove_xattr(ACCESS_LIST) {
        // Mostly there is none, or the file system knows of none.
        tracing::debug!(%error, "no access list is taken away");
    }
}

/// The nearest folder above a path that is there.
pub(super) fn nearest(path: &Path) -> io::Result<OwnedFd> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for folder in path.ancestors() {
        match rustix::fs::open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(fd) => return Ok(fd),
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

impl Quarantine {
    /// The agent's own quarantine folder.
    ///
    /// # Errors
    /// When it cannot be made or opened.
    pub fn own(&self) -> io::Result<OwnedFd> {
        let agent = agent_folder(&self.folder, self.disk.as_ref())?;
        private_folder(self.disk.as_ref(), Place { folder: agent.as_fd(), name: c"quarantine" })
    }

    /// The path of the agent's own quarantine folder.
    #[must_use]
    pub fn own_path(&self) -> PathBuf {
        self.folder.join("quarantine")
    }

    /// The name of quarantine folders on other file systems, or its start: each home has one of its own.
    #[must_use]
    pub fn foreign_name(&self) -> String {
        let digest = Sha256::digest(self.folder.as_os_str().as_bytes());
        format!(".lrsh-quarantine-{}", hex(digest.get(..6).unwrap_or_default()))
    }

    /// A private folder at the top of another file system. Where the name that it has by right is another's, or no folder's, it
    /// gets one that nobody can have thought of: the journal keeps which. Only where `make` says so one is made.
    fn foreign(&self, top: &OwnedFd, make: bool) -> io::Result<(String, Option<OwnedFd>)> {
        let name = self.foreign_name();
        let at = |name: &str| Ok::<_, io::Error>(CString::new(name)?);
        if !make {
            return Ok((name, None));
        }
        let own = at(&name)?;
        match private_folder(self.disk.as_ref(), Place { folder: top.as_fd(), name: &own }) {
            Ok(folder) => Ok((name, Some(folder))),
            Err(refused) => {
                let other = format!("{name}-{}", Uuid::new_v4().simple());
                let place = at(&other)?;
                let folder = private_folder(self.disk.as_ref(), Place { folder: top.as_fd(), name: &place });
                folder.map(|folder| (other, Some(folder))).map_err(|_| refused)
            }
        }
    }

    /// Takes a quarantine folder on another file system away if nothing is in it.
    pub fn tidy(&self, root: &Root, shelf: &Shelf) {
        let Shelf::At(path) = shelf else { return };
        let path = of_key(path);
        let removed = root.open_real_folder(path.parent().unwrap_or(Path::new("/"))).and_then(|top| {
            let name = CString::new(path.file_name().unwrap_or_default().as_bytes())?;
            self.disk.remove_folder(Place { folder: top.as_fd(), name: &name })?;
            self.disk.sync_folder(top.as_fd())
        });
        if let Err(error) = removed {
            tracing::debug!(%error, folder = %path.display(), "a quarantine folder stays");
        }
    }

    /// The quarantine folder that what lies in a folder can be moved to. Only where `make` says so one is made.
    ///
    /// # Errors
    /// When none can be made or opened there.
    pub fn shelf_for(&self, root: &Root, folder: &OwnedFd, make: bool) -> Result<(Shelf, Option<OwnedFd>), Problem> {
        let at = |path: &Path, error: &io::Error| {
            let why = problem(path, error);
            Problem { message: format!("no quarantine folder: {}", why.message), ..why }
        };
        let own = self.own_path();
        let mount = |fd: &OwnedFd| mount_of(fd.as_fd()).map_err(|error| at(&own, &error));
        let (opened, lies_on) = if make {
            let opened = self.own().map_err(|error| at(&own, &error))?;
            let lies_on = mount(&opened)?;
            (Some(opened), lies_on)
        } else {
            (None, mount(&nearest(&own).map_err(|error| at(&own, &error))?)?)
        };
        if lies_on == mount(folder)? {
            return Ok((Shelf::Own, opened));
        }
        let name = self.foreign_name();
        let top = mount_root(folder.as_fd(), root.top()).map_err(|error| at(Path::new(&name), &error))?;
        let above = root.path_of(top.as_fd()).unwrap_or_default();
        let (name, shelf) = self.foreign(&top, make).map_err(|error| at(&above.join(&name), &error))?;
        Ok((Shelf::At(key(&above.join(name))), shelf))
    }

    /// The path of a quarantine folder.
    #[must_use]
    pub fn path(&self, shelf: &Shelf) -> PathBuf {
        match shelf {
            Shelf::Own => self.own_path(),
            Shelf::At(path) => of_key(path),
        }
    }

    /// Opens a quarantine folder.
    ///
    /// # Errors
    /// When it is not there (a file system that was unmounted, or forgets), or is another's.
    pub fn open(&self, root: &Root, shelf: &Shelf) -> io::Result<OwnedFd> {
        match shelf {
            Shelf::Own => self.own(),
            Shelf::At(path) => root.open_real_folder(&of_key(path)),
        }
    }

    /// The path of what is kept, for people.
    #[must_use]
    pub fn place(&self, kept: &Quarantined) -> PathBuf {
        self.path(&kept.shelf).join(&kept.name)
    }

    /// Puts bytes into the agent's own quarantine under a new name.
    ///
    /// # Errors
    /// As the disk says; nothing stays behind then.
    pub fn store(&self, name: &str, from: &mut dyn Read) -> io::Result<u64> {
        self.store_in(&self.own()?, name, from)
    }

    /// Puts bytes into a folder of the agent's own quarantine under a new name.
    ///
    /// # Errors
    /// As the disk says; nothing stays behind then.
    pub fn store_in(&self, own: &OwnedFd, name: &str, from: &mut dyn Read) -> io::Result<u64> {
        let name = CString::new(name)?;
        let place = Place { folder: own.as_fd(), name: &name };
        let file = self.disk.create(place)?;
        let stored = self.fill(&file, from).and_then(|size| {
            self.disk.set_mode(file.as_fd(), SEALED)?;
            self.disk.sync(file.as_fd())?;
            self.disk.sync_folder(own.as_fd())?;
            Ok(size)
        });
        if stored.is_err()
            && let Err(error) = self.disk.remove(place)
        {
            tracing::warn!(%error, "a half-written copy stays in quarantine");
        }
        stored
    }

    /// Appends all that comes; what is nothing but zeros becomes a hole.
    fn fill(&self, file: &File, from: &mut dyn Read) -> io::Result<u64> {
        let mut block = vec![0; BLOCK];
        let (mut size, mut written) = (0, 0);
        loop {
            let read = match from.read(&mut block) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let bytes = block.get(..read).unwrap_or_default();
            if bytes.iter().any(|&byte| byte != 0) {
                if written < size {
                    self.disk.set_length(file, size)?;
                }
                self.disk.append(file, bytes)?;
                written = size + read as u64;
            }
            size += read as u64;
        }
        if written < size {
            self.disk.set_length(file, size)?;
        }
        Ok(size)
    }
}
