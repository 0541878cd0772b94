//! Shortcuts (`.lnk`): where they lead, after Microsoft's [MS-SHLLINK]. Only the parts that tell what is started are read; every
//! length is checked against what there is.

use super::bytes::{u16_at, u32_at};
use super::shell_item;
use super::text::{command_line, narrow, until_zero, utf16, utf16_exact};

/// The first bytes of every shortcut: the size of its head, and its class.
const HEAD: [u8; 20] = [0x4c, 0, 0, 0, 1, 0x14, 2, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46];
const HEAD_SIZE: usize = 0x4c;
/// `LinkFlags`.
const HAS_IDS: u32 = 1;
const HAS_INFO: u32 = 1 << 1;
const NAME: u32 = 1 << 2;
const RELATIVE: u32 = 1 << 3;
const FOLDER: u32 = 1 << 4;
const ARGUMENTS: u32 = 1 << 5;
const ICON: u32 = 1 << 6;
const UNICODE: u32 = 1 << 7;
/// The marks of blocks: the target with variables, the icon with variables, and another list of ids.
const VARIABLES: u32 = 0xa000_0001;
const ICON_VARIABLES: u32 = 0xa000_0007;
const OTHER_IDS: u32 = 0xa000_000c;
/// The most blocks behind the strings.
const MAX_BLOCKS: usize = 64;

/// What a shortcut says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shortcut {
    /// The file that it starts with variables, where it has them: Windows takes it first.
    pub variables: Option<String>,
    /// The same by ids, which Windows takes next.
    pub ids: Option<String>,
    /// Whether every part of those was understood.
    pub ids_are_whole: bool,
    /// The same by ids of a second list, where it has one.
    pub other_ids: Option<String>,
    /// The same by volume or share, which Windows takes where the ids lead nowhere.
    pub info: Option<String>,
    /// The same from the shortcut on.
    pub relative: Option<String>,
    /// The arguments.
    pub arguments: Option<String>,
    /// The folder that it is started in.
    pub folder: Option<String>,
    /// Where its icon is.
    pub icon: Option<String>,
}

impl Shortcut {
    /// All that it says is started, in the order in which Windows tries.
    fn targets(&self) -> impl Iterator<Item = &str> {
        [&self.variables, &self.other_ids, &self.ids, &self.info, &self.relative].into_iter().filter_map(Option::as_deref)
    }

    /// What is started.
    #[must_use]
    pub fn program(&self) -> Option<&str> {
        self.targets().next()
    }

    /// What is started, with its arguments; of one that names nothing these alone.
    #[must_use]
    pub fn command(&self) -> Option<String> {
        match self.program() {
            Some(program) => Some(command_line(program, self.arguments.as_deref())),
            None => self.arguments.clone(),
        }
    }

    /// What must be known of it, as a clause: that it names several programs, or none, or fetches its icon from elsewhere.
    /// Variables are replaced by `expanded`.
    #[must_use]
    pub fn doubt(&self, expanded: &dyn Fn(&str) -> String) -> Option<String> {
        let mut doubts = Vec::new();
        let plain = |target: &str| expanded(target).to_lowercase();
        match self.program() {
            None => doubts.push("it names no program that can be told".to_owned()),
            Some(first) => {
                let mut known = vec![plain(first)];
                // Short names and paths from the shortcut on cannot be compared.
                let comparable = |target: &&str| !target.contains('~') && self.relative.as_deref() != Some(*target);
                for target in self.targets().filter(comparable) {
                    if !known.contains(&plain(target)) {
                        known.push(plain(target));
                        doubts.push(format!("it names {target} too, which is started where {first} is not there"));
                    }
                }
            }
        }
        if self.ids.is_some() && !self.ids_are_whole {
            doubts.push("a part of its list of ids is of a kind that is not known".to_owned());
        }
        if let Some(icon) = self.icon.as_deref().filter(|icon| icon.starts_with(r"\\") || icon.starts_with("//")) {
            doubts.push(format!("its icon is fetched from {icon}"));
        }
        (!doubts.is_empty()).then(|| doubts.join("; "))
    }
}

/// Reads a shortcut; `None` when it is none, or is cut off before its strings end.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<Shortcut> {
    if !bytes.starts_with(&HEAD) {
        return None;
    }
    let flags = u32_at(bytes, 20)?;
    let mut rest = bytes.get(HEAD_SIZE..)?;
    let mut shortcut = Shortcut::default();
    if flags & HAS_IDS != 0 {
        let size = 2 + usize::from(u16_at(rest, 0)?);
        if let Some((path, whole)) = shell_item::path(rest.get(2..size)?) {
            (shortcut.ids, shortcut.ids_are_whole) = (Some(path), whole);
        }
        rest = rest.get(size..)?;
    }
    if flags & HAS_INFO != 0 {
        let size = usize::try_from(u32_at(rest, 0)?).ok()?;
        shortcut.info = rest.get(..size).and_then(local_path);
        // A size that counts less than itself would not end.
        rest = rest.get(size.max(4)..)?;
    }
    for flag in [NAME, RELATIVE, FOLDER, ARGUMENTS, ICON] {
        if flags & flag == 0 {
            continue;
        }
        let count = usize::from(u16_at(rest, 0)?);
        let length = if flags & UNICODE == 0 { count } else { count * 2 };
        let bytes = rest.get(2..2 + length)?;
        rest = rest.get(2 + length..)?;
        let text = if flags & UNICODE == 0 { narrow(bytes) } else { utf16_exact(bytes) };
        let text = Some(text).filter(|text| !text.is_empty());
        match flag {
            RELATIVE => shortcut.relative = text,
            FOLDER => shortcut.folder = text,
            ARGUMENTS => shortcut.arguments = text,
            ICON => shortcut.icon = text,
            _ => {}
        }
    }
    for _ in 0..MAX_BLOCKS {
        let Some(size) = u32_at(rest, 0).and_then(|size| usize::try_from(size).ok()).filter(|&size| size >= 8) else { break };
        let Some(block) = rest.get(..size) else { break };
        match u32_at(block, 4) {
            Some(VARIABLES) => shortcut.variables = with_variables(block).or(shortcut.variables),
            Some(ICON_VARIABLES) => shortcut.icon = with_variables(block).or(shortcut.icon),
            Some(OTHER_IDS) => shortcut.other_ids = block.get(8..).and_then(shell_item::path).map(|(path, _)| path),
            _ => {}
        }
        rest = rest.get(size..).unwrap_or_default();
    }
    Some(shortcut)
}

/// The text of a block with variables: 260 bytes of narrow text, then as many characters of wide text.
fn with_variables(block: &[u8]) -> Option<String> {
    let wide = block.get(8 + 260..).map(utf16).filter(|text| !text.is_empty());
    wide.or_else(|| block.get(8..8 + 260).map(until_zero).map(narrow)).filter(|text| !text.is_empty())
}

/// The path in a `LinkInfo`: what stands on a disk of the machine, the wide form where there is one, or on a share.
fn local_path(info: &[u8]) -> Option<String> {
    let at = |place| u32_at(info, place).and_then(|offset| usize::try_from(offset).ok()).filter(|&offset| offset > 0);
    let (head, flags) = (at(4)?, u32_at(info, 8)?);
    let text = |offset: Option<usize>| offset.and_then(|offset| info.get(offset..)).map(until_zero).map(narrow);
    let wide = |place: usize| at(place).and_then(|offset| info.get(offset..)).map(utf16).filter(|text| !text.is_empty());
    let has_wide = head >= 0x24;
    let suffix = has_wide.then(|| wide(0x20)).flatten().or_else(|| text(at(24))).unwrap_or_default();
    if flags & 1 != 0 {
        let base = has_wide.then(|| wide(0x1c)).flatten().or_else(|| text(at(16)))?;
        return Some(base + &suffix);
    }
    let network = info.get(at(20)?..)?;
    let name = u32_at(network, 8).and_then(|offset| usize::try_from(offset).ok())?;
    let share = narrow(until_zero(network.get(name..)?));
    Some(format!(r"{share}\{suffix}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shortcut without a `LinkInfo`: strings, and blocks behind them.
    fn shortcut(flags: u32, strings: &[&str], blocks: &[u8]) -> Vec<u8> {
        let mut bytes = HEAD.to_vec();
        bytes.extend((flags | UNICODE).to_le_bytes());
        bytes.resize(HEAD_SIZE, 0);
        for text in strings {
            let units: Vec<u16> = text.encode_utf16().collect();
            bytes.extend(u16::try_from(units.len()).unwrap().to_le_bytes());
            bytes.extend(units.into_iter().flat_map(u16::to_le_bytes));
        }
        [&bytes, blocks].concat()
    }

    #[test]
    fn strings_and_variables_are_read() {
        let mut block = vec![0x14, 3, 0, 0];
        block.extend(VARIABLES.to_le_bytes());
        block.resize(8 + 260, 0);
        block.extend(r"%windir%\x.exe".encode_utf16().flat_map(u16::to_le_bytes));
        block.resize(0x314, 0);
        let bytes = shortcut(NAME | RELATIVE | FOLDER | ARGUMENTS, &["n", r"..\x.exe", r"C:\d", "-a ö"], &block);
        let read = parse(&bytes).unwrap();
        assert_eq!(read.variables.as_deref(), Some(r"%windir%\x.exe"));
        assert_eq!((read.relative.as_deref(), read.folder.as_deref()), (Some(r"..\x.exe"), Some(r"C:\d")));
        assert_eq!(read.command().unwrap(), r"%windir%\x.exe -a ö");
        let bare = parse(&shortcut(RELATIVE, &[r"..\x.exe"], &[])).unwrap();
        assert_eq!(bare.command().unwrap(), r"..\x.exe");
    }

    #[test]
    fn what_is_odd_of_a_shortcut_is_said() {
        let doubt = |shortcut: &Shortcut| shortcut.doubt(&|text| text.replace("%windir%", r"C:\Windows")).unwrap_or_default();
        let mut one = Shortcut { arguments: Some("/c x".into()), ..Shortcut::default() };
        assert_eq!((one.command().as_deref(), doubt(&one).as_str()), (Some("/c x"), "it names no program that can be told"));
        one.info = Some(r"C:\Windows\a.exe".into());
        one.variables = Some(r"%windir%\A.exe".into());
        one.relative = Some(r"..\b.exe".into());
        assert_eq!(doubt(&one), "");
        one.ids = Some(r"C:\b.exe".into());
        one.icon = Some(r"\\198.51.100.7\x.ico".into());
        let said = doubt(&one);
        for part in [r"names C:\b.exe too", "not known", r"fetched from \\198.51.100.7\x.ico"] {
            assert!(said.contains(part), "{said}");
        }
        let mut block = vec![0x14, 3, 0, 0];
        block.extend(ICON_VARIABLES.to_le_bytes());
        block.extend(b"%windir%\\x.ico");
        block.resize(0x314, 0);
        let read = parse(&shortcut(ICON, &[r"C:\y.ico"], &block)).unwrap();
        assert_eq!(read.icon.as_deref(), Some(r"%windir%\x.ico"));
    }

    #[test]
    fn what_is_cut_off_or_lies_about_its_lengths_ends() {
        let whole = shortcut(HAS_IDS | HAS_INFO | ARGUMENTS, &["x"], &[1, 0, 0, 0]);
        for length in 0..whole.len() {
            let _ = parse(&whole[..length]);
        }
        for at in 20..whole.len() {
            for byte in [0, 1, 0x7f, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = byte;
                let _ = parse(&bytes);
            }
        }
        assert_eq!(parse(b"L"), None);
    }
}
