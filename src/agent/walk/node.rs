//! Folders on their way through a walk: each knows its name and its parent, so that a path costs its own name only.

use std::ffi::{CStr, CString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::Folder;

/// A folder of a walk.
pub(super) struct Node {
    /// Empty for the one that the walk begins at.
    name: CString,
    parent: Option<Arc<Node>>,
    depth: u32,
    seen: OnceLock<Seen>,
}

/// What is known of a folder once it was opened.
#[derive(Clone, Copy)]
struct Seen {
    id: (u64, u64),
    /// The identity of the nearest parent (or itself) whose depth is a power of two: whoever walks in a circle meets it
    /// again sooner or later (Brent), and to compare with it alone costs nothing on a deep tree.
    mark: (u64, u64),
}

/// How much of a path the kernel takes at once, with room to spare.
const PIECE: usize = 3000;

impl Node {
    pub(super) fn top() -> Arc<Self> {
        Arc::new(Self { name: CString::default(), parent: None, depth: 0, seen: OnceLock::new() })
    }

    pub(super) fn below(parent: &Arc<Self>, name: &CStr) -> Arc<Self> {
        let depth = parent.depth.saturating_add(1);
        Arc::new(Self { name: name.to_owned(), parent: Some(Arc::clone(parent)), depth, seen: OnceLock::new() })
    }

    /// Opens it: from its parent where that is at hand, else from the folder that the walk began at. No link on the way is
    /// followed, so that a folder which was swapped for a link leads nowhere.
    pub(super) fn open(&self, base: &Folder, at_hand: Option<(&Arc<Self>, &Folder)>) -> io::Result<Folder> {
        let Some(parent) = &self.parent else { return base.again() };
        if let Some((node, folder)) = at_hand
            && Arc::ptr_eq(node, parent)
        {
            return folder.folder(&self.name);
        }
        let mut names = vec![self.name.as_c_str()];
        let mut above = parent;
        while let Some(next) = &above.parent {
            names.push(&above.name);
            above = next;
        }
        let mut folder: Option<Folder> = None;
        let mut piece = Vec::new();
        while let Some(name) = names.pop() {
            piece.extend_from_slice(name.to_bytes());
            if names.is_empty() || piece.len() > PIECE {
                folder = Some(folder.as_ref().unwrap_or(base).below(&piece)?);
                piece.clear();
            } else {
                piece.push(b'/');
            }
        }
        folder.map_or_else(|| base.again(), Ok)
    }

    pub(super) fn identify(&self, id: (u64, u64)) {
        let mark = match self.parent.as_ref().and_then(|parent| parent.seen.get()) {
            Some(above) if !self.depth.is_power_of_two() => above.mark,
            _ => id,
        };
        // Set twice only where a half-read folder is gone on with, which is never entered again.
        let _ = self.seen.set(Seen { id, mark });
    }

    /// Whether it is one of its own parents.
    pub(super) fn is_own_parent(&self, id: (u64, u64)) -> bool {
        let above = self.parent.as_ref().and_then(|parent| parent.seen.get());
        above.is_some_and(|above| above.mark == id || above.id == id)
    }

    /// The file system that its parent lies on.
    pub(super) fn parent_device(&self) -> Option<u64> {
        self.parent.as_ref().and_then(|parent| parent.seen.get()).map(|seen| seen.id.0)
    }

    /// Appends its absolute path, with a slash at the end.
    pub(super) fn write_path(&self, base: &Path, path: &mut Vec<u8>) {
        path.extend_from_slice(base.as_os_str().as_bytes());
        if path.last() != Some(&b'/') {
            path.push(b'/');
        }
        let mut names = Vec::new();
        let mut node = Some(self);
        while let Some(this) = node {
            names.push(this.name.as_bytes());
            node = this.parent.as_deref();
        }
        for name in names.into_iter().rev().filter(|name| !name.is_empty()) {
            path.extend_from_slice(name);
            path.push(b'/');
        }
    }
}

/// A chain of parents is taken apart link by link: left alone, each would drop the next inside its own drop, and a tree that
/// is deep enough would use up the stack.
impl Drop for Node {
    fn drop(&mut self) {
        let mut parent = self.parent.take();
        while let Some(node) = parent {
            match Arc::into_inner(node) {
                Some(mut last) => parent = last.parent.take(),
                None => break,
            }
        }
    }
}
