//! `fileinfo`: all that is known of a file, its content hashed in one pass. One object keyed by path; what is wrong with a
//! path is data (`error`, `last_access_error`), not a failed command.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::ser::SerializeMap;
use xattr::FileExt as _;

use crate::agent::content::Content;
use crate::agent::context::{Context, VerbError, VerbResult};
use crate::agent::digest::{Digests, digests};
use crate::agent::filetype::{executable_type, has_packer_mark, mime_type, special};
use crate::agent::identity::FileIdentity;
use crate::agent::path::{key, lossy, problem, reason, uri};
use crate::agent::platform::{Facts, Mode, Time, capabilities, drive, is_virtual};
use crate::agent::targets::Targets;
use crate::protocol::{Problem, ProgressUnit, SeenItem};

/// The most that is read of a file whose size is not known beforehand: some of /proc have no end.
const MAX_VIRTUAL: u64 = 16 * 1024 * 1024;
/// One answer is one object, which must stay of a size that a shell can hold.
const MAX_PATHS: usize = 4096;
/// The most extended attributes that are told.
const MAX_ATTRIBUTES: usize = 256;
/// A program whose bytes are that even is compressed or encrypted.
const PACKED_ENTROPY: f64 = 7.2;

/// What is known of one path. Every field is there, `null` where it cannot be known on this platform.
#[derive(Debug, Default, Serialize)]
struct FileInfo {
    /// Why nothing, or not all, is known.
    error: Option<String>,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_uri: Option<String>,
    size: Option<u64>,
    /// Whether it bears the mark of a download (`user.xdg.origin.url`); that it does not means nothing.
    downloaded: Option<bool>,
    created: Option<Time>,
    modified: Option<Time>,
    accessed: Option<Time>,
    changed: Option<Time>,
    mime_type: Option<String>,
    compressed: Option<bool>,
    executable_type: Option<String>,
    vendor: Option<String>,
    directory_types: Vec<&'static str>,
    read_only: Option<bool>,
    hidden: Option<bool>,
    sha256: Option<String>,
    sha1: Option<String>,
    md5: Option<String>,
    packed: Option<bool>,
    ms_verified: Option<bool>,
    /// What went wrong while its content was read.
    last_access_error: Option<String>,
    file_state_display: Vec<&'static str>,
    digital_signature: Option<String>,
    mode: Option<Mode>,
    owner: Option<String>,
    group: Option<String>,
    inode: Option<u64>,
    links: Option<u32>,
    /// Where it leads: all else is told of what is there.
    link_target: Option<String>,
    entropy: Option<f64>,
    capabilities: Option<String>,
    /// Extended attributes: values that are text as they are, others in hexadecimal behind `0x`.
    xattrs: Option<BTreeMap<String, String>>,
    package: Option<PackageInfo>,
    /// The processes that run or map it; `null` where that was not asked (no program, or no running system).
    running_pids: Option<Vec<u32>>,
}

/// The package that a file belongs to.
#[derive(Debug, Serialize)]
struct PackageInfo {
    name: String,
    /// Whether its content is what the package shipped; `null` where there is no checksum of it.
    intact: Option<bool>,
    /// Whether it is configuration, which an administrator may change.
    conffile: bool,
}

/// The answer: in JSON a map from paths.
struct Answer(Vec<(String, FileInfo)>);

impl Serialize for Answer {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (path, info) in &self.0 {
            map.serialize_entry(path, info)?;
        }
        map.end()
    }
}

/// How far the whole command is.
struct Pace {
    done: u64,
    total: u64,
}

pub(super) fn run(ctx: &mut Context) -> VerbResult {
    let typed = ctx.required("path")?;
    let targets = match Targets::of(ctx, typed) {
        Ok(targets) => targets,
        Err(VerbError::Failed(why)) => {
            let path = ctx.path(typed);
            let info = FileInfo { error: Some(why.message), path: lossy(&path), path_uri: uri(&path), ..FileInfo::default() };
            return ctx.object(&Answer(vec![(name(&path), info)]));
        }
        Err(stopped) => return Err(stopped),
    };
    if targets.paths().len() > MAX_PATHS {
        let message =
            format!("{typed} matches {} files; fileinfo answers for at most {MAX_PATHS} at once", targets.paths().len());
        return Err(Problem::new("too_many", message).about("path").into());
    }
    let sizes = targets.paths().iter().filter_map(|path| ctx.agent.root.facts(path).ok());
    let total = sizes.filter(|facts| facts.is_file() && !too_large(ctx, facts.size)).map(|facts| facts.size).sum();
    let mut pace = Pace { done: 0, total };
    let mut answer = Vec::with_capacity(targets.paths().len());
    let mut seen = Vec::new();
    for path in targets.paths() {
        let info = look(ctx, path, &mut pace, &mut seen)?;
        answer.push((name(path), info));
    }
    ctx.seen("file", seen)?;
    ctx.object(&Answer(answer))
}

/// What the object calls a path: itself where that is exact, else its `file:///` form, so that no two are called the same.
fn name(path: &Path) -> String {
    match path.to_str() {
        Some(text) if drive::split(text.as_bytes()).is_none() => text.to_owned(),
        _ => key(path),
    }
}

fn too_large(ctx: &Context, size: u64) -> bool {
    ctx.command.size_limit.is_some_and(|limit| size > limit)
}

fn look(ctx: &mut Context, path: &Path, pace: &mut Pace, seen: &mut Vec<SeenItem>) -> Result<FileInfo, VerbError> {
    let mut info = FileInfo { path: lossy(path), path_uri: uri(path), ..FileInfo::default() };
    let root = std::sync::Arc::clone(&ctx.agent.root);
    let own = match root.link_facts(path) {
        Ok(facts) => facts,
        Err(error) => {
            info.error = Some(problem(path, &error).message);
            return Ok(info);
        }
    };
    if own.is_link() {
        info.link_target = root.read_link(path).ok().map(|target| lossy(&target));
    }
    let facts = match root.facts(path) {
        Ok(facts) => facts,
        Err(error) => {
            // A link that leads nowhere: what can be told is told of the link.
            info.error = Some(problem(path, &error).message);
            tell(ctx, &mut info, path, &own);
            seen.push(SeenItem { key: key(path), identity: serde_json::json!(FileIdentity::new(&own, None)) });
            return Ok(info);
        }
    };
    tell(ctx, &mut info, path, &facts);
    if !runs(ctx, &facts)? {
        info.error = Some(format!("process {} does not run this file", ctx.param("pid").unwrap_or_default()));
    }
    if !facts.is_file() {
        info.mime_type = Some(special(facts.kind).to_owned());
        seen.push(SeenItem { key: key(path), identity: serde_json::json!(FileIdentity::new(&own, None)) });
        return Ok(info);
    }
    let content = match Content::open(&root, path, false) {
        Ok(content) => content,
        Err(why) => {
            info.error.get_or_insert(why.message.clone());
            info.last_access_error = Some(why.message);
            seen.push(SeenItem { key: key(path), identity: serde_json::json!(FileIdentity::new(&own, None)) });
            return Ok(info);
        }
    };
    // From here on all is told of the very file that is open.
    let facts = content.facts;
    tell(ctx, &mut info, path, &facts);
    info.downloaded = content.file.get_xattr("user.xdg.origin.url").ok().flatten().map(|_| true);
    let hash = if too_large(ctx, facts.size) {
        let limit = ctx.command.size_limit.unwrap_or_default();
        info.error
            .get_or_insert(format!("{}: larger than the limit of {limit} bytes, so its content was not hashed", lossy(path)));
        None
    } else {
        read(ctx, &mut info, path, &content, pace)?
    };
    attributes(&mut info, &content.file);
    belongs(ctx, &mut info, path, &content)?;
    see(ctx, path, &own, &content, hash, seen);
    Ok(info)
}

/// What hangs on the file beside its content.
fn attributes(info: &mut FileInfo, file: &File) {
    let Ok(names) = file.list_xattr() else { return };
    let mut found = BTreeMap::new();
    for name in names.take(MAX_ATTRIBUTES) {
        let Some(value) = file.get_xattr(&name).ok().flatten() else { continue };
        if name == "security.capability" {
            info.capabilities = capabilities::capabilities(&value);
        }
        let is_text = |text: &&str| !text.contains(|letter: char| letter.is_control() && !matches!(letter, '\t' | '\n'));
        // The label of SELinux ends with a NUL.
        let written = value.strip_suffix(b"\0").filter(|_| name == "security.selinux").unwrap_or(&value);
        let text = std::str::from_utf8(written).ok().filter(is_text);
        let text = text.map_or_else(|| format!("0x{}", hex(&value)), ToOwned::to_owned);
        found.insert(name.to_string_lossy().into_owned(), text);
    }
    info.xattrs = Some(found);
}

/// Which package it belongs to, and which processes run or map it.
fn belongs(ctx: &Context, info: &mut FileInfo, path: &Path, content: &Content) -> VerbResult {
    if is_virtual(content.file.as_fd()) {
        return Ok(());
    }
    let real = ctx.agent.root.path_of(content.file.as_fd()).unwrap_or_else(|| path.to_path_buf());
    info.package = ctx.agent.platform.package(&real).map(|owner| PackageInfo {
        intact: owner.md5.zip(info.md5.as_ref()).map(|(shipped, found)| shipped == *found),
        name: owner.name,
        conffile: owner.configuration,
    });
    // Looking at every process costs more than all else of a small file, and only machine code can be in use so: the image of
    // a process that runs a script is the script's interpreter.
    if info.executable_type.as_ref().is_some_and(|kind| !kind.starts_with("script")) {
        info.running_pids = ctx.agent.platform.users(&real, &content.facts, &ctx.stop)?;
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Reads and hashes the content; what it was is returned when all of it was read and it stayed the same.
fn read(
    ctx: &mut Context,
    info: &mut FileInfo,
    path: &Path,
    content: &Content,
    pace: &mut Pace,
) -> Result<Option<String>, VerbError> {
    let bound = content.size.unwrap_or(MAX_VIRTUAL);
    let (stop, meter) = (ctx.stop.clone(), std::sync::Arc::clone(&ctx.meter));
    let before = pace.done;
    let total = Some(pace.total).filter(|&total| total > 0);
    let shown = lossy(path);
    let done =
        digests(&content.file, bound, &stop, &meter, |read| ctx.progress(before + read, total, ProgressUnit::Bytes, &shown));
    let digests = match done? {
        Ok(digests) => digests,
        Err(error) => {
            let (_, why) = reason(&error);
            info.last_access_error = Some(why.clone());
            info.error.get_or_insert(format!("{shown}: {why}"));
            return Ok(None);
        }
    };
    pace.done = before + digests.size;
    let now = Facts::of(content.file.as_fd(), c"").ok();
    let same = now.is_some_and(|now| FileIdentity::new(&now, None) == FileIdentity::new(&content.facts, None));
    let whole = digests.size == bound || content.size.is_none();
    if content.size.is_none() && digests.size == bound {
        info.last_access_error = Some(format!("only its first {bound} bytes were read: the kernel makes it up as it is read"));
    } else if !(same && whole) && content.size.is_some() {
        info.last_access_error = Some(format!("it changed while it was read; the hashes are of {} bytes", digests.size));
    }
    describe(info, &digests);
    Ok((same && whole).then_some(digests.sha256))
}

fn describe(info: &mut FileInfo, digests: &Digests) {
    info.mime_type = Some(mime_type(&digests.head).to_owned());
    info.executable_type = executable_type(&digests.head);
    let is_machine_code = info.executable_type.as_ref().is_some_and(|kind| !kind.starts_with("script"));
    info.packed = is_machine_code.then(|| has_packer_mark(&digests.head) || digests.entropy >= PACKED_ENTROPY);
    info.entropy = Some(digests.entropy);
    info.sha256 = Some(digests.sha256.clone());
    info.sha1 = Some(digests.sha1.clone());
    info.md5 = Some(digests.md5.clone());
}

/// What the file system tells.
fn tell(ctx: &Context, info: &mut FileInfo, path: &Path, facts: &Facts) {
    let names = ctx.agent.accounts.names(&ctx.agent.root);
    info.size = Some(facts.size);
    info.created = facts.created;
    info.modified = Some(facts.modified);
    info.accessed = Some(facts.accessed);
    info.changed = Some(facts.changed);
    info.compressed = facts.compressed;
    info.directory_types = directory_types(path);
    info.read_only = Some(facts.read_only());
    let own = names.are_own();
    info.hidden = own.then(|| path.file_name().is_some_and(|name| name.as_bytes().starts_with(b".")));
    info.file_state_display = states(facts);
    info.mode = own.then(|| facts.mode());
    info.owner = own.then(|| names.user(facts.uid).into_owned());
    info.group = own.then(|| names.group(facts.gid).into_owned());
    info.inode = Some(facts.inode);
    info.links = Some(facts.links);
    if facts.is_link() {
        info.mime_type = Some(special(facts.kind).to_owned());
    }
}

/// What is special about it; `Default` where nothing is.
fn states(facts: &Facts) -> Vec<&'static str> {
    let sparse = facts.is_file() && facts.allocated < facts.size && facts.compressed != Some(true) && facts.allocated > 0;
    let known = [(facts.immutable, "Immutable"), (facts.compressed == Some(true), "Compressed"), (sparse, "Sparse")];
    let states: Vec<_> = known.into_iter().filter_map(|(is, name)| is.then_some(name)).collect();
    if states.is_empty() { vec!["Default"] } else { states }
}

/// What kind of folder it lies in.
fn directory_types(path: &Path) -> Vec<&'static str> {
    const KINDS: &[(&str, &[&str])] = &[
        ("Temporary", &["/tmp", "/var/tmp", "/dev/shm", "/run/user"]),
        ("System", &["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/usr", "/boot", "/etc", "/opt"]),
        ("User", &["/home", "/root"]),
        ("Kernel", &["/proc", "/sys", "/dev"]),
    ];
    if let Some((_, path)) = drive::split(path.as_os_str().as_bytes()) {
        return windows_directory_types(path);
    }
    let below = |folders: &[&str]| folders.iter().any(|folder| path.starts_with(folder));
    let mut kinds: Vec<_> = KINDS.iter().filter(|(_, folders)| below(folders)).map(|&(kind, _)| kind).collect();
    if path.components().any(|part| part.as_os_str() == "Downloads") {
        kinds.push("Downloads");
    }
    kinds
}

/// The same on a Windows disk.
fn windows_directory_types(path: &[u8]) -> Vec<&'static str> {
    let path = String::from_utf8_lossy(path).to_ascii_lowercase();
    let below = |folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let mut kinds = Vec::new();
    if below("/windows/temp") || below("/temp") || path.contains("/appdata/local/temp/") {
        kinds.push("Temporary");
    }
    if ["/windows", "/program files", "/program files (x86)", "/programdata"].into_iter().any(below) {
        kinds.push("System");
    }
    if below("/users") || below("/documents and settings") {
        kinds.push("User");
    }
    if path.split('/').any(|part| part == "downloads") {
        kinds.push("Downloads");
    }
    kinds
}

/// Whether the process that the hidden `pid` names runs this very file; true where none is named.
fn runs(ctx: &Context, facts: &Facts) -> Result<bool, VerbError> {
    let Some(pid) = ctx.param("pid") else { return Ok(true) };
    let Some(image) = pid.parse().ok().map(|pid| ctx.agent.platform.process(pid)).transpose()?.flatten().and_then(|p| p.image)
    else {
        return Ok(false);
    };
    Ok(ctx.agent.root.facts(&image.path).is_ok_and(|image| (image.dev, image.inode) == (facts.dev, facts.inode)))
}

/// Notes what was shown: the path as typed, and where its links lead.
fn see(ctx: &Context, path: &Path, own: &Facts, content: &Content, hash: Option<String>, seen: &mut Vec<SeenItem>) {
    if is_virtual(content.file.as_fd()) {
        return;
    }
    let identity = serde_json::json!(FileIdentity::new(&content.facts, hash));
    let typed = if own.is_link() { serde_json::json!(FileIdentity::new(own, None)) } else { identity.clone() };
    seen.push(SeenItem { key: key(path), identity: typed });
    let real: Option<PathBuf> = ctx.agent.root.path_of(content.file.as_fd());
    if let Some(real) = real.filter(|real| real != path) {
        seen.push(SeenItem { key: key(&real), identity });
    }
}
