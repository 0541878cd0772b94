//! Lists of hashes of malicious content, from the library.
//!
//! A line is a hash (MD5, SHA-1 or SHA-256 by its length) and, behind blanks or a comma, what it is: what `sha256sum` prints is a list,
//! with `--tag` too, and so is a table whose first column is the hash. What stands behind `#` or `;` is a comment.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Answer, Engine, Finding, Subject, Wants, Whole};

/// The longest name that is kept of an entry, in characters.
const MAX_NAME: usize = 120;
const WEIGHT: u32 = 100;

/// All lists together.
#[derive(Debug, Default)]
pub struct HashLists {
    /// By length in bytes: 16, 20, 32.
    md5: HashMap<[u8; 16], Entry>,
    sha1: HashMap<[u8; 20], Entry>,
    sha256: HashMap<[u8; 32], Entry>,
    lists: Vec<String>,
}

#[derive(Debug)]
struct Entry {
    list: u32,
    name: Box<str>,
}

impl HashLists {
    /// Adds a list; the numbers of the lines that were no entry.
    pub fn add(&mut self, name: &str, text: &[u8]) -> Vec<usize> {
        let list = u32::try_from(self.lists.len()).unwrap_or(u32::MAX);
        self.lists.push(name.to_owned());
        let mut odd = Vec::new();
        // Editors of Windows put a mark in front that is none of the text.
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        for (number, line) in (1..).zip(text.split(|&byte| byte == b'\n')) {
            let line = line.split(|&byte| matches!(byte, b'#' | b';')).next().unwrap_or_default().trim_ascii();
            if line.is_empty() {
                continue;
            }
            let (hash, name) = tagged(line).unwrap_or_else(|| plain(line));
            let name: String = String::from_utf8_lossy(name).chars().take(MAX_NAME).collect();
            let entry = Entry { list, name: name.into() };
            let kept = match hash.len() {
                32 => keep(bytes(hash), entry, &mut self.md5),
                40 => keep(bytes(hash), entry, &mut self.sha1),
                64 => keep(bytes(hash), entry, &mut self.sha256),
                _ => None,
            };
            if kept.is_none() {
                odd.push(number);
            }
        }
        odd
    }

    /// Whether there is any entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.md5.is_empty() && self.sha1.is_empty() && self.sha256.is_empty()
    }

    fn finding(&self, kind: &str, entry: &Entry) -> Finding {
        let list = self.lists.get(entry.list as usize).map_or("?", String::as_str);
        let named = if entry.name.is_empty() { String::new() } else { format!(" as {}", entry.name) };
        Finding {
            engine: "hashes",
            rule: if entry.name.is_empty() { list.to_owned() } else { format!("{list}:{}", entry.name) },
            weight: WEIGHT,
            what: format!("its {kind} stands in {list}{named}"),
            place: None,
        }
    }
}

fn keep<const N: usize>(hash: Option<[u8; N]>, entry: Entry, map: &mut HashMap<[u8; N], Entry>) -> Option<()> {
    map.entry(hash?).or_insert(entry);
    Some(())
}

/// Hash and name of `HASH  name`, `HASH *name`, `HASH,name,more` and `"HASH","name"`.
fn plain(line: &[u8]) -> (&[u8], &[u8]) {
    let end = line.iter().position(|&byte| byte.is_ascii_whitespace() || byte == b',').unwrap_or(line.len());
    let (hash, rest) = line.split_at(end);
    let name = match rest.strip_prefix(b",") {
        Some(columns) => columns.split(|&byte| byte == b',').next().unwrap_or_default(),
        // `sha256sum` marks a file that was read as binary with a star.
        None => rest.trim_ascii().strip_prefix(b"*").unwrap_or(rest),
    };
    (unquoted(hash), unquoted(name))
}

fn unquoted(field: &[u8]) -> &[u8] {
    let field = field.trim_ascii();
    field.strip_prefix(b"\"").and_then(|field| field.strip_suffix(b"\"")).unwrap_or(field)
}

/// Hash and name of `SHA256 (name) = HASH`, as `--tag` has it, and `openssl dgst` nearly so.
fn tagged(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let open = line.iter().position(|&byte| byte == b'(')?;
    let close = line.windows(2).rposition(|two| two == b")=").or_else(|| line.windows(3).rposition(|three| three == b") ="))?;
    let (kind, name) = (line.get(..open)?.trim_ascii(), line.get(open + 1..close)?);
    let hash = line.get(close..)?.iter().position(|&byte| byte == b'=').and_then(|at| line.get(close + at + 1..))?.trim_ascii();
    let is_known = [&b"MD5"[..], b"SHA1", b"SHA256", b"SHA2-256"].iter().any(|known| kind.eq_ignore_ascii_case(known));
    is_known.then_some((hash, name))
}

/// Reads hexadecimal digits.
fn bytes<const N: usize>(hex: &[u8]) -> Option<[u8; N]> {
    let mut all = [0; N];
    if hex.len() != N * 2 || !hex.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    for (byte, pair) in all.iter_mut().zip(hex.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(all)
}

/// The engine.
pub struct Hashes(pub Arc<HashLists>);

impl Engine for Hashes {
    fn name(&self) -> &'static str {
        "hashes"
    }

    fn wants(&mut self, _subject: &Subject<'_>) -> Wants {
        Wants { sha256: !self.0.sha256.is_empty(), sha1: !self.0.sha1.is_empty(), md5: !self.0.md5.is_empty() }
    }

    fn look(&mut self, _subject: &Subject<'_>, whole: &Whole<'_>, _found: &[Finding]) -> Answer {
        let lists = &self.0;
        let find = |text: &Option<String>| text.as_ref().map(|text| text.as_bytes().to_vec());
        let sha256 = find(&whole.sha256).and_then(|hex| lists.sha256.get(&bytes(&hex)?)).map(|entry| ("SHA-256", entry));
        let sha1 = find(&whole.sha1).and_then(|hex| lists.sha1.get(&bytes(&hex)?)).map(|entry| ("SHA-1", entry));
        let md5 = find(&whole.md5).and_then(|hex| lists.md5.get(&bytes(&hex)?)).map(|entry| ("MD5", entry));
        Ok([sha256, sha1, md5].into_iter().flatten().map(|(kind, entry)| lists.finding(kind, entry)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_the_hash_tools_write_them() {
        let mut lists = HashLists::default();
        let sha256 = "ab".repeat(32);
        let text = format!(
            "# a comment\r\n\n{sha256}  evil tool\n{} *x ; why\n{}\nnothing\n{}\n",
            "CD".repeat(20),
            "ef".repeat(16),
            "zz".repeat(16)
        );
        assert_eq!(lists.add("own.hashes", text.as_bytes()), [6, 7]);
        let mut engine = Hashes(Arc::new(lists));
        let subject = Subject { file: None, place: None };
        assert_eq!(engine.wants(&subject), Wants { sha256: true, sha1: true, md5: true });
        let whole = Whole { sha256: Some(sha256), sha1: Some("cd".repeat(20)), ..Whole::default() };
        let rules: Vec<String> = engine.look(&subject, &whole, &[]).unwrap().into_iter().map(|found| found.rule).collect();
        assert_eq!(rules, ["own.hashes:evil tool", "own.hashes:x"]);
    }

    #[test]
    fn lists_of_other_shapes_are_read_too() {
        let check = |line: &str, wanted: Option<&str>| {
            let mut lists = HashLists::default();
            let line = line.replace('~', &"ab".repeat(32));
            let odd = lists.add("l", line.as_bytes());
            let entry = lists.sha256.get(&[0xab; 32]).map(|entry| &*entry.name);
            assert_eq!((entry, odd.is_empty()), (wanted, wanted.is_some()), "{line}");
        };
        check("~", Some(""));
        check("~  a b", Some("a b"));
        check("~ *a", Some("a"));
        check("\u{feff}~  first", Some("first"));
        check("SHA256 (a (1).exe) = ~", Some("a (1).exe"));
        check("SHA2-256(a)= ~", Some("a"));
        check("~,a,2024-01-01", Some("a"));
        check("\"~\",\"a\"", Some("a"));
        check("~,", Some(""));
        check("BLAKE2b (a) = ~", None);
        check("SHA256 (a) = abc", None);
        check("sha256,name", None);
    }
}
