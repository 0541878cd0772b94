//! Somebody swaps the file while it is removed, as often as can be: the one that was seen goes, or none.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use lrsh::protocol::Status;

use super::{effects, look, remediate};
use crate::kit::device::Device;
use crate::kit::need::rounds;

/// Runs rounds against a thread that swaps; `swap` is called with the folder until the round is over.
fn series(swap: impl Fn(&Path) + Sync) {
    let mut device = Device::live();
    let (mut removed, mut put_back, mut refused) = (0, 0, 0);
    for round in 0..rounds() * 10 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sub/evil");
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        std::fs::write(&path, format!("evil {round}")).unwrap();
        std::fs::write(folder.path().join("innocent"), format!("good {round}")).unwrap();
        let inode = path.metadata().unwrap().ino();
        let over = AtomicBool::new(false);
        look(&mut device, &path);
        let answer = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    swap(folder.path());
                }
            });
            let answer = remediate(&device, &path, &[]);
            over.store(true, Ordering::Relaxed);
            answer
        });
        let said = format!("{:?} {:?}", answer.completed.errors, effects(&answer));
        assert!(!said.contains("lead nowhere") && !said.contains("network file system"), "{said}");
        let effects = effects(&answer);
        let innocent = find(folder.path(), &format!("good {round}"));
        match (answer.completed.status, effects.first().map(|effect| effect.state.as_str())) {
            (Status::Completed, Some("done")) => {
                let kept = effects[0].after["quarantine"].as_str().unwrap();
                let meta = Path::new(kept).metadata().unwrap();
                assert_eq!((meta.ino(), meta.mode() & 0o7777), (inode, 0o400), "what was seen, and nothing else");
                assert!(innocent, "round {round}: what was not meant is still there");
                removed += 1;
            }
            (Status::Failed, Some("kept")) => {
                // Its name was taken: it is in quarantine, and told.
                assert!(effects[0].reason.as_ref().unwrap().contains("stays in quarantine"));
                put_back += 1;
            }
            (Status::Failed, Some("not_done")) => {
                assert!(innocent, "round {round}: {:?}", answer.completed);
                assert!(find(folder.path(), &format!("evil {round}")), "round {round}: {:?}", answer.completed);
                put_back += 1;
            }
            (Status::Failed, None) => refused += 1,
            other => panic!("{other:?} {:?}", answer.completed),
        }
    }
    eprintln!("removed {removed}, put back {put_back}, refused {refused}");
}

/// Whether a file with that content is somewhere below.
fn find(folder: &Path, content: &str) -> bool {
    let mut waiting = vec![folder.to_path_buf()];
    while let Some(path) = waiting.pop() {
        if path.is_dir() && !path.is_symlink() {
            waiting.extend(std::fs::read_dir(&path).unwrap().flatten().map(|entry| entry.path()));
        } else if std::fs::read_to_string(&path).is_ok_and(|text| text == content) {
            return true;
        }
    }
    false
}

fn exchange(one: &Path, other: &Path) {
    let _ = rustix::fs::renameat_with(rustix::fs::CWD, one, rustix::fs::CWD, other, rustix::fs::RenameFlags::EXCHANGE);
}

#[test]
fn a_file_that_is_swapped_with_another() {
    series(|folder| exchange(&folder.join("sub/evil"), &folder.join("innocent")));
}

#[test]
fn a_link_that_is_put_in_its_place() {
    series(|folder| {
        let _ = std::os::unix::fs::symlink("../innocent", folder.join("link"));
        exchange(&folder.join("link"), &folder.join("sub/evil"));
    });
}

#[test]
fn a_folder_that_is_renamed_away_and_back() {
    series(|folder| {
        let _ = std::fs::rename(folder.join("sub"), folder.join("away"));
        let _ = std::fs::rename(folder.join("away"), folder.join("sub"));
    });
}

#[test]
fn a_folder_that_becomes_a_link() {
    series(|folder| {
        let _ = std::fs::create_dir(folder.join("trap"));
        let _ = std::fs::hard_link(folder.join("innocent"), folder.join("trap/evil"));
        let _ = std::os::unix::fs::symlink("trap", folder.join("turn"));
        exchange(&folder.join("turn"), &folder.join("sub"));
    });
}

#[test]
fn a_file_that_is_written_to() {
    series(|folder| {
        if let Ok(file) = std::fs::OpenOptions::new().write(true).open(folder.join("sub/evil")) {
            use std::os::unix::fs::FileExt;
            let _ = file.write_at(b"EVIL", 0);
            let _ = file.write_at(b"evil", 0);
        }
    });
}
