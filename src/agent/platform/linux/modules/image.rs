//! A module's file: its `.modinfo` section and the name in its signature, whatever compresses it.

use std::io::{self, Read};
use std::path::Path;

use goblin::container::{Container, Ctx};
use goblin::elf::{Elf, SectionHeader};

use crate::agent::platform::driver::ModuleInfo;
use crate::agent::platform::linux::root::Root;

/// The largest file that is read, as it lies there and unpacked.
const MAX_FILE: u64 = 64 * 1024 * 1024;
const MAX_UNPACKED: u64 = 256 * 1024 * 1024;
/// The memory that a decoder may take: its window.
const MAX_WINDOW_KIB: u32 = 128 * 1024;
const MAX_WINDOW_LOG: u32 = 27;
/// The longest signature that is looked at.
const MAX_SIGNATURE: usize = 1024 * 1024;
/// What stands behind the signature (`include/linux/module_signature.h`), and the record before that.
const MARK: &[u8] = b"~Module signature appended~\n";
const RECORD: usize = 12;
/// The object identifier of a common name, as DER writes it.
const COMMON_NAME: &[u8] = &[0x06, 0x03, 0x55, 0x04, 0x03];

/// A module's file, read.
pub(super) struct Image {
    /// Of the file itself, in bytes.
    pub(super) size: u64,
    pub(super) info: ModuleInfo,
    /// What is wrong with it.
    pub(super) error: Option<String>,
}

pub(super) fn read(root: &Root, path: &Path) -> io::Result<Image> {
    let packed = root.read(path, MAX_FILE)?;
    let size = packed.len() as u64;
    let unpacked = unpack(packed);
    let (info, error) = match unpacked {
        Ok(bytes) => match module_info(&bytes) {
            Some(info) => (info, None),
            None => (ModuleInfo::default(), Some("it is no ELF file with a .modinfo section".to_owned())),
        },
        Err(error) => (ModuleInfo::default(), Some(format!("it cannot be unpacked: {error}"))),
    };
    Ok(Image { size, info, error })
}

fn unpack(bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    let mut reader: Box<dyn Read + '_> = if bytes.starts_with(&[0xfd, b'7', b'z', b'X', b'Z', 0]) {
        Box::new(lzma_rust2::XzReader::new_mem_limit(bytes.as_slice(), true, MAX_WINDOW_KIB))
    } else if bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let mut decoder = zstd::Decoder::new(bytes.as_slice())?;
        decoder.window_log_max(MAX_WINDOW_LOG)?;
        Box::new(decoder)
    } else if bytes.starts_with(&[0x1f, 0x8b]) {
        Box::new(flate2::read::MultiGzDecoder::new(bytes.as_slice()))
    } else {
        return Ok(bytes);
    };
    let mut unpacked = Vec::new();
    (&mut reader).take(MAX_UNPACKED + 1).read_to_end(&mut unpacked)?;
    if unpacked.len() as u64 > MAX_UNPACKED {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than any module"));
    }
    drop(reader);
    Ok(unpacked)
}

/// What a module's bytes say of it; `None` when they are no ELF file with a `.modinfo` section.
#[must_use]
pub fn module_info(bytes: &[u8]) -> Option<ModuleInfo> {
    let text = section(bytes, b".modinfo")?;
    let mut info = ModuleInfo { signer: signer(bytes), ..ModuleInfo::default() };
    for entry in text.split(|&byte| byte == 0) {
        let entry = String::from_utf8_lossy(entry);
        let Some((key, value)) = entry.split_once('=') else { continue };
        let place = match key {
            "description" => &mut info.description,
            "author" => &mut info.author,
            "license" => &mut info.license,
            "version" => &mut info.version,
            "vermagic" => &mut info.vermagic,
            "depends" => {
                info.depends.extend(value.split(',').filter(|name| !name.is_empty()).map(ToOwned::to_owned));
                continue;
            }
            _ => continue,
        };
        match place {
            Some(before) => {
                before.push_str("; ");
                before.push_str(value);
            }
            None => *place = Some(value.to_owned()),
        }
    }
    Some(info)
}

fn section<'a>(bytes: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let header = Elf::parse_header(bytes).ok()?;
    let container = if header.e_ident.get(4) == Some(&2) { Container::Big } else { Container::Little };
    let context = Ctx::new(container, header.endianness().ok()?);
    // With none here the number would stand in the first section: modules never have so many.
    if header.e_shnum == 0 {
        return None;
    }
    let sections =
        SectionHeader::parse(bytes, usize::try_from(header.e_shoff).ok()?, usize::from(header.e_shnum), context).ok()?;
    let names = part(bytes, sections.get(usize::from(header.e_shstrndx))?)?;
    sections.iter().find_map(|section| {
        let called = names.get(section.sh_name..)?;
        let called = called.get(..called.iter().position(|&byte| byte == 0)?)?;
        if called == name { part(bytes, section) } else { None }
    })
}

fn part<'a>(bytes: &'a [u8], section: &SectionHeader) -> Option<&'a [u8]> {
    let start = usize::try_from(section.sh_offset).ok()?;
    bytes.get(start..start.checked_add(usize::try_from(section.sh_size).ok()?)?)
}

/// Who a module's signature says signed it: the common name of the certificate's issuer, as `modinfo` tells it. A signature is a
/// PKCS#7 message without certificates, so that the only name in it is that one.
fn signer(bytes: &[u8]) -> Option<String> {
    let rest = bytes.strip_suffix(MARK)?;
    let (rest, record) = rest.split_at_checked(rest.len().checked_sub(RECORD)?)?;
    let [_, _, kind, name_length, key_length, _, _, _, length @ ..] = record else { return None };
    let length = u32::from_be_bytes(length.try_into().ok()?) as usize;
    let signature = rest.get(rest.len().checked_sub(length)?..).filter(|signature| signature.len() <= MAX_SIGNATURE)?;
    if *kind != 2 {
        // Before PKCS#7 the name stood there as it is, before the key's identifier and the signature.
        let end = rest.len().checked_sub(length)?.checked_sub(usize::from(*key_length))?;
        let name = rest.get(end.checked_sub(usize::from(*name_length))?..end)?;
        return (!name.is_empty()).then(|| String::from_utf8_lossy(name).into_owned());
    }
    let at = signature.windows(COMMON_NAME.len()).position(|window| window == COMMON_NAME)? + COMMON_NAME.len();
    let [_kind, length, name @ ..] = signature.get(at..)? else { return None };
    // A length of 128 and more takes bytes of its own; no name is that long.
    let name = name.get(..usize::from(*length)).filter(|_| *length < 128)?;
    Some(String::from_utf8_lossy(name).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_module_is_none() {
        let own = std::fs::read("/proc/self/exe").unwrap();
        assert_eq!(module_info(&own), None);
        for end in [0, 4, 16, 40, 64, 100] {
            assert_eq!(module_info(&own[..end]), None);
        }
        let mut odd = own[..4096].to_vec();
        odd[0x28..0x30].fill(0xff);
        assert_eq!(module_info(&odd), None);
        assert_eq!(signer(MARK), None);
        assert_eq!(signer(&[&[0xff; 12][..], MARK].concat()), None);
    }

    #[test]
    fn bombs_do_not_unpack() {
        let bomb = zstd::encode_all(io::repeat(0).take(MAX_UNPACKED + 10), 1).unwrap();
        assert!(unpack(bomb).is_err());
        assert!(unpack(b"\xfd7zXZ\0garbage".to_vec()).is_err());
        assert!(unpack(b"\x1f\x8bgarbage".to_vec()).is_err());
        assert_eq!(unpack(b"plain".to_vec()).unwrap(), b"plain");
    }
}
