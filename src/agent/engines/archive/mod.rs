//! Looks into archives: zip, tar, cpio, ar, and what gzip, zlib, xz and zstd compress. Of others it is said that they are not looked
//! into.
//!
//! What programs take out of an archive is not always what it says of itself: everything in it that has content is a member here,
//! whatever kind of thing it claims to be, and so is what stands where nothing refers to.
//!
//! Archives are hostile: they hold themselves, promise more members than there are atoms, unpack to more than any disk holds, and
//! break off. A [`Budget`] bounds depth, members, bytes and the ratio of what comes out to what went in; what is passed over for
//! it is said. Nothing is written anywhere, and no decoder is given more memory than its window.

mod kind;
mod tapes;
mod zips;

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use super::budget::{Budget, Layer, Metered};
pub use kind::{Kind, archives};

/// How much of a zip's end is searched for its directory: a comment can be 64 KiB long.
pub const TAIL: u64 = 66 * 1024;
/// What a decoder of xz may use, in KiB, and the largest window of zstd, as a power of two.
const XZ_MEMORY_KIB: u32 = 128 * 1024;
const ZSTD_WINDOW: u32 = 27;
/// The longest name of a member that is told.
const MAX_NAME: usize = 300;

/// What archives are read from.
pub trait Source: Read + Seek {}
impl<T: Read + Seek> Source for T {}

/// An open file with a position of its own.
pub struct At<'a> {
    file: &'a File,
    /// The byte that it begins at.
    from: u64,
    at: u64,
    size: u64,
}

impl<'a> At<'a> {
    /// What of the first `size` bytes of a file stands behind so many.
    #[must_use]
    pub fn new(file: &'a File, from: u64, size: u64) -> Self {
        Self { file, from, at: 0, size: size.saturating_sub(from) }
    }
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let room = buffer.len().min(left);
        let count = self.file.read_at(buffer.get_mut(..room).unwrap_or_default(), self.from + self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for At<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// What looks at members: a name, and the content. What it returns ends the archive.
pub type Visit<'v, E> = &'v mut dyn FnMut(&str, &mut dyn Read) -> Result<(), E>;

/// Shows every member of an archive that the budget has room for. What cannot be read is said in the budget.
///
/// # Errors
/// Only those of `visit`.
pub fn members<E>(source: &mut dyn Source, kind: Kind, name: &str, budget: &Budget, visit: Visit<'_, E>) -> Result<(), E> {
    let packed = source.seek(SeekFrom::End(0)).unwrap_or(0);
    if let Err(error) = source.seek(SeekFrom::Start(0)) {
        budget.say(format!("{name}: {error}"));
        return Ok(());
    }
    let layer = Layer::new(budget, name, packed);
    match kind {
        Kind::Zip => zips::zip(source, &layer, visit),
        Kind::Tar => tapes::tar(source, &layer, visit),
        Kind::Cpio => tapes::cpio(source, &layer, visit),
        Kind::Ar => tapes::ar(source, &layer, visit),
        Kind::Closed(what) => {
            budget.say(not_looked_into(name, what));
            Ok(())
        }
        Kind::Gzip => stream(flate2::read::MultiGzDecoder::new(source), &layer, ".gz", visit),
        Kind::Zlib => stream(flate2::read::ZlibDecoder::new(source), &layer, ".zz", visit),
        Kind::Xz => stream(lzma_rust2::XzReader::new_mem_limit(source, true, XZ_MEMORY_KIB), &layer, ".xz", visit),
        Kind::Zstd => {
            let decoder = zstd::Decoder::new(source).and_then(|mut decoder| {
                decoder.window_log_max(ZSTD_WINDOW)?;
                Ok(decoder)
            });
            match decoder {
                Ok(decoder) => stream(decoder, &layer, ".zst", visit),
                Err(error) => {
                    budget.say(format!("{name}: {error}"));
                    Ok(())
                }
            }
        }
    }
}

/// What is said of an archive that nothing here can read.
#[must_use]
pub fn not_looked_into(name: &str, what: &str) -> String {
    format!("{name}: it is {what}, which is not looked into")
}

/// One compressed stream: a tar or cpio within is looked into as it comes, anything else is one member.
fn stream<E>(inner: impl Read, layer: &Layer<'_>, ending: &str, visit: Visit<'_, E>) -> Result<(), E> {
    let mut reader = Metered { inner, layer };
    let mut head = Vec::new();
    if let Err(error) = (&mut reader).take(512).read_to_end(&mut head) {
        layer.budget.say(format!("{}: {error}", layer.name));
        return Ok(());
    }
    let kind = Kind::of(&head);
    let mut whole = io::Cursor::new(head).chain(reader);
    match kind {
        Some(Kind::Tar) => return tapes::tar(&mut whole, layer, visit),
        Some(Kind::Cpio) => return tapes::cpio(&mut whole, layer, visit),
        _ => {}
    }
    if !layer.budget.member() {
        return Ok(());
    }
    let base = layer.name.rsplit(['/', '>']).next().unwrap_or(layer.name).trim();
    let inner = base.strip_suffix(ending).unwrap_or("content");
    visit(inner, &mut whole)
}

/// A member's name as it is told.
fn told(name: &[u8]) -> String {
    String::from_utf8_lossy(name).chars().take(MAX_NAME).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn names(bytes: &[u8], budget: &Budget) -> Vec<(String, u64)> {
        let mut all = Vec::new();
        let kind = Kind::of(bytes).unwrap();
        members::<()>(&mut io::Cursor::new(bytes), kind, "a", budget, &mut |name, content| {
            all.push((name.to_owned(), io::copy(content, &mut io::sink()).unwrap_or(u64::MAX)));
            Ok(())
        })
        .unwrap();
        all
    }

    fn tarred(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, content) in files {
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, *content).unwrap();
        }
        tar.into_inner().unwrap()
    }

    fn zipped(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut zip = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
        for (name, content) in files {
            zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(content).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    fn gzipped(content: &[u8]) -> Vec<u8> {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gz.write_all(content).unwrap();
        gz.finish().unwrap()
    }

    fn ample() -> Budget {
        Budget::new(1 << 30, 1000, 4)
    }

    #[test]
    fn members_of_every_kind_are_shown() {
        let files: [(&str, &[u8]); 2] = [("one", b"1"), ("folder/two", b"22")];
        let wanted = [("one".to_owned(), 1), ("folder/two".to_owned(), 2)];
        let tar = tarred(&files);
        for bytes in [zipped(&files), tar.clone(), gzipped(&tar), zstd::encode_all(tar.as_slice(), 1).unwrap()] {
            let budget = ample();
            assert_eq!(names(&bytes, &budget), wanted);
            assert_eq!(budget.into_said(), Vec::<String>::new());
        }
        assert_eq!(names(&gzipped(b"text"), &ample()), [("content".to_owned(), 4)]);
    }

    /// A head of a tar with that kind and that mark.
    fn tar_head(name: &str, kind: u8, size: usize, ustar: bool) -> Vec<u8> {
        let mut head = if ustar { tar::Header::new_ustar() } else { tar::Header::new_old() };
        head.set_path(name).unwrap();
        head.set_mode(0o644);
        head.set_uid(0);
        head.set_gid(0);
        head.set_mtime(0);
        head.set_size(size as u64);
        head.as_mut_bytes()[156] = kind;
        head.set_cksum();
        head.as_bytes().to_vec()
    }

    fn tar_member(name: &str, kind: u8, content: &[u8]) -> Vec<u8> {
        let padding = vec![0; content.len().next_multiple_of(512) - content.len()];
        [tar_head(name, kind, content.len(), true), content.to_vec(), padding].concat()
    }

    #[test]
    fn what_claims_to_be_no_file_and_has_content_is_a_member() {
        for kind in [b'0', 0, b'7', b'Q', b'Z', b'2', b'5'] {
            let tar = [tar_member("evil", kind, b"evil"), vec![0; 1024]].concat();
            assert_eq!(names(&tar, &ample()), [("evil".to_owned(), 4)], "{kind}");
        }
        let mut zip = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
        zip.add_symlink("link", "evil", zip::write::SimpleFileOptions::default()).unwrap();
        zip.start_file("folder/", zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(b"evil").unwrap();
        let zip = zip.finish().unwrap().into_inner();
        assert_eq!(names(&zip, &ample()), [("link".to_owned(), 4), ("folder/".to_owned(), 4)]);
    }

    #[test]
    fn what_stands_behind_an_end_is_looked_at() {
        let (evil, good) = (tar_member("evil", b'0', b"evil"), tar_member("good", b'0', b"good"));
        let both = [("good".to_owned(), 4), ("evil".to_owned(), 4)];
        let tar = [good, vec![0; 1024], evil, vec![0; 10_240]].concat();
        for bytes in [tar.clone(), gzipped(&tar)] {
            let budget = ample();
            assert_eq!(names(&bytes, &budget), both);
            assert_eq!(budget.into_said(), Vec::<String>::new());
        }
        let (evil, good) = (zipped(&[("evil", b"evil")]), zipped(&[("good", b"good")]));
        let budget = ample();
        assert_eq!(names(&[evil.clone(), good.clone()].concat(), &budget), both);
        assert_eq!(budget.into_said(), Vec::<String>::new());
        // Members that stand in no directory are said.
        let end = evil.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
        for bytes in [[&evil[..end], &good].concat(), [good.as_slice(), &evil[..end]].concat()] {
            let budget = ample();
            assert_eq!(names(&bytes, &budget), both[..1]);
            assert!(budget.into_said().concat().contains("stand in no directory"));
        }
        // A program before it is none of it, whatever it knows.
        let budget = ample();
        let program = [b"MZ PK\x03\x04 PK\x05\x06 ".as_slice(), &[0xcc; 100], &good].concat();
        members::<()>(&mut io::Cursor::new(&program), Kind::Zip, "a", &budget, &mut |_, _| Ok(())).unwrap();
        assert_eq!(budget.into_said(), Vec::<String>::new());
    }

    /// A cpio as the kernel reads it.
    fn cpio(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut all = Vec::new();
        for (name, content) in files.iter().chain([&("TRAILER!!!", &b""[..])]) {
            let fields = [1, 0o100_644, 0, 0, 1, 0, content.len(), 0, 0, 0, 0, name.len() + 1, 0];
            let head: String = fields.iter().map(|field| format!("{field:08x}")).collect();
            all.extend([b"070701", head.as_bytes(), name.as_bytes(), &[0]].concat());
            all.resize(all.len().next_multiple_of(4), 0);
            all.extend(*content);
            all.resize(all.len().next_multiple_of(4), 0);
        }
        all.resize(all.len().next_multiple_of(512), 0);
        all
    }

    #[test]
    fn ramdisks_libraries_and_old_tars_are_looked_into() {
        let wanted = [("one".to_owned(), 1), ("evil".to_owned(), 4)];
        let plain = cpio(&[("one", b"1"), ("folder", b""), ("evil", b"evil")]);
        for bytes in [plain.clone(), gzipped(&plain)] {
            let budget = ample();
            assert_eq!(names(&bytes, &budget), wanted);
            assert_eq!(budget.into_said(), Vec::<String>::new());
        }
        // As with microcode: what is packed behind it is a member.
        let all = names(&[cpio(&[("one", b"1")]), gzipped(&plain)].concat(), &ample());
        assert_eq!(all.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["one", "what follows"]);
        let budget = ample();
        names(&plain[..300], &budget);
        assert!(budget.into_said().concat().contains("was not looked at"));

        let old = [tar_head("evil", b'0', 4, false), b"evil".to_vec(), vec![0; 508 + 1024]].concat();
        assert_eq!(Kind::of(&old), Some(Kind::Tar));
        assert_eq!(names(&old, &ample()), [("evil".to_owned(), 4)]);
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        zlib.write_all(b"evil").unwrap();
        assert_eq!(names(&zlib.finish().unwrap(), &ample()), [("content".to_owned(), 4)]);
    }

    #[test]
    fn bombs_end_and_are_said() {
        let zeros = vec![0; 20 * 1024 * 1024];
        for bytes in [gzipped(&zeros), zstd::encode_all(zeros.as_slice(), 1).unwrap()] {
            let budget = ample();
            let all = names(&bytes, &budget);
            assert_eq!(all.iter().map(|(_, size)| *size).collect::<Vec<_>>(), [u64::MAX]);
            assert!(budget.into_said().concat().contains("more than 200 times its size"));
        }
        let budget = Budget::new(1000, 1000, 4);
        names(&tarred(&[("big", &[1; 5000])]), &budget);
        assert!(budget.into_said().concat().contains("too many bytes"));
        let budget = Budget::new(1 << 30, 1, 4);
        assert_eq!(names(&tarred(&[("one", b"1"), ("two", b"2")]), &budget).len(), 1);
        assert!(budget.into_said().concat().contains("too many members"));
    }

    #[test]
    fn one_that_holds_too_much_hides_no_other() {
        let zeros = vec![0; 20 * 1024 * 1024];
        let budget = ample();
        let all = names(&zipped(&[("zeros", &zeros), ("folder/evil", b"evil")]), &budget);
        assert_eq!(all, [("zeros".to_owned(), u64::MAX), ("folder/evil".to_owned(), 4)]);
        let said = budget.into_said();
        assert!(said.len() == 1 && said[0].contains("a > zeros: it unpacks to more than 200 times its size"), "{said:?}");
        // One that has more than there is room for leaves half of it to the others.
        let noise: Vec<u8> = (0..5000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let budget = Budget::new(10_000, 1000, 4);
        let all = names(&zipped(&[("big", &noise), ("small", b"evil")]), &budget);
        assert_eq!(all, [("big".to_owned(), u64::MAX), ("small".to_owned(), 4)]);
        assert!(budget.into_said().concat().contains("a > big: it has 20000 bytes, of which 5000 were looked at"));
    }

    #[test]
    fn folders_are_no_members() {
        let mut zip = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
        let mut tar = tar::Builder::new(Vec::new());
        for n in 0..20 {
            zip.add_directory(format!("folder{n}"), zip::write::SimpleFileOptions::default()).unwrap();
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(tar::EntryType::Directory);
            header.set_size(0);
            tar.append_data(&mut header, format!("folder{n}"), io::empty()).unwrap();
        }
        zip.start_file("evil", zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(b"evil").unwrap();
        let mut header = tar::Header::new_ustar();
        header.set_size(4);
        tar.append_data(&mut header, "evil", &b"evil"[..]).unwrap();
        for bytes in [zip.finish().unwrap().into_inner(), tar.into_inner().unwrap()] {
            assert_eq!(names(&bytes, &Budget::new(1 << 30, 2, 4)), [("evil".to_owned(), 4)]);
        }
    }

    #[test]
    fn packages_of_debian_are_looked_into() {
        let member = |name: &str, content: &[u8]| {
            let head = format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, content.len());
            [head.as_bytes(), content, &b"\n"[..content.len() % 2]].concat()
        };
        let deb = [b"!<arch>\n".to_vec(), member("debian-binary", b"2.0"), member("data.tar.xz", b"data")].concat();
        assert_eq!(names(&deb, &ample()), [("debian-binary".to_owned(), 3), ("data.tar.xz".to_owned(), 4)]);
        let budget = ample();
        names(&deb[..deb.len() - 40], &budget);
        assert!(budget.into_said().concat().contains("it is broken at byte 72"));
    }

    #[test]
    fn a_zip_behind_something_else_is_one() {
        let zip = zipped(&[("one", b"1")]);
        let whole = [b"MZ or anything else", zip.as_slice(), b" and something behind"].concat();
        assert_eq!(archives(&whole, &whole), [(Kind::Zip, 0)]);
        let mut all = Vec::new();
        members::<()>(&mut io::Cursor::new(&whole), Kind::Zip, "a", &ample(), &mut |name, _| {
            all.push(name.to_owned());
            Ok(())
        })
        .unwrap();
        assert_eq!(all, ["one"]);
        // In a tar it is a member, and looked at as one.
        let tar = tarred(&[("inner.zip", &zip)]);
        assert_eq!(archives(&tar, &tar), [(Kind::Tar, 0)]);
        let both = [tar.as_slice(), &zip].concat();
        assert_eq!(archives(&both, &both), [(Kind::Tar, 0), (Kind::Zip, 0)]);
    }

    #[test]
    fn a_directory_that_promises_too_much_is_not_read() {
        let mut bytes = zipped(&[("one", b"1")]);
        let end = bytes.windows(4).rposition(|window| window == b"PK\x05\x06").unwrap();
        bytes[end + 10] = 0xff;
        bytes[end + 11] = 0xff;
        let budget = ample();
        assert_eq!(names(&bytes, &budget), []);
        assert!(budget.into_said().concat().contains("promises"));
    }

    #[test]
    fn broken_archives_never_panic() {
        let tar = tarred(&[("one", &[7; 700]), ("two", b"2")]);
        for bytes in [zipped(&[("one", &[7; 700]), ("two", b"2")]), tar.clone(), gzipped(&tar)] {
            for at in (0..bytes.len()).step_by(3) {
                let mut broken = bytes.clone();
                broken[at] ^= 0xa5;
                for broken in [broken.as_slice(), &bytes[..at]] {
                    if Kind::of(broken).is_some() {
                        names(broken, &ample());
                    }
                }
            }
        }
    }
}
