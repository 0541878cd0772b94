//! Text and times as Windows keeps them.

use crate::agent::platform::Time;

/// Text in UTF-16 up to its first zero, broken halves as U+FFFD. A file that ends in an odd byte ends before it.
#[must_use]
pub fn utf16(bytes: &[u8]) -> String {
    char::decode_utf16(units(bytes).take_while(|&unit| unit != 0)).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

/// All of it, zeros too.
#[must_use]
pub fn utf16_exact(bytes: &[u8]) -> String {
    char::decode_utf16(units(bytes)).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

/// Texts in UTF-16, each ended by a zero. Empty ones at the end of all say nothing; one among others does: the second half of a
/// pair of `PendingFileRenameOperations`, or what hides those behind it from whoever stops there.
#[must_use]
pub fn utf16_list(bytes: &[u8]) -> Vec<String> {
    let units: Vec<u16> = units(bytes).collect();
    let mut texts: Vec<String> = units.split(|&unit| unit == 0).map(String::from_utf16_lossy).collect();
    while texts.last().is_some_and(String::is_empty) {
        texts.pop();
    }
    texts
}

/// Text of a code page that is not known: ASCII as it is, other bytes as Windows-1252 nearly has them.
#[must_use]
pub fn narrow(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

/// The bytes before the first zero.
#[must_use]
pub fn until_zero(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// A command line: a program, and its arguments behind a blank.
#[must_use]
pub fn command_line(program: &str, arguments: Option<&str>) -> String {
    match arguments {
        Some(arguments) => format!("{program} {arguments}"),
        None => program.to_owned(),
    }
}

/// A file of text: UTF-16 with its mark, or UTF-8 with or without one.
#[must_use]
pub fn decode(bytes: &[u8]) -> String {
    match bytes {
        [0xff, 0xfe, rest @ ..] => utf16_exact(rest),
        [0xfe, 0xff, rest @ ..] => {
            let swapped: Vec<u8> = rest.chunks_exact(2).flat_map(|pair| pair.iter().rev().copied()).collect();
            utf16_exact(&swapped)
        }
        // Without a mark: what has a zero behind its first character is UTF-16 nevertheless.
        [b'<', 0, ..] => utf16_exact(bytes),
        _ => String::from_utf8_lossy(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)).into_owned(),
    }
}

/// A moment counted in 100 ns since 1601.
#[must_use]
pub fn filetime(ticks: u64) -> Time {
    /// Between 1601 and 1970.
    const SECONDS: i64 = 11_644_473_600;
    let seconds = i64::try_from(ticks / 10_000_000).unwrap_or(i64::MAX) - SECONDS;
    Time::new(seconds, u32::try_from(ticks % 10_000_000).unwrap_or(0) * 100)
}

fn units(bytes: &[u8]) -> impl Iterator<Item = u16> + '_ {
    bytes.chunks_exact(2).filter_map(|pair| Some(u16::from_le_bytes(pair.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    #[test]
    fn text_is_read_whatever_it_is() {
        assert_eq!(utf16(&bytes("aé😀\0b")), "aé😀");
        assert_eq!(utf16(&[0x00, 0xd8, b'a']), "\u{fffd}");
        assert_eq!(utf16_list(&bytes("a\0bc\0\0d\0")), ["a", "bc", "", "d"]);
        assert_eq!(utf16_list(&bytes("a\0bc\0\0\0")), ["a", "bc"]);
        assert_eq!(utf16_list(&bytes("a")), ["a"]);
        assert_eq!(utf16_list(&[]), [""; 0]);
        let marked = [vec![0xff, 0xfe], bytes("<a/>")].concat();
        for form in [marked, bytes("<a/>"), b"<a/>".to_vec(), b"\xef\xbb\xbf<a/>".to_vec()] {
            assert_eq!(decode(&form), "<a/>");
        }
        assert_eq!(decode(b"\xfe\xff\0<\0a"), "<a");
    }

    #[test]
    fn times_count_from_1601() {
        let check = |ticks, text: &str| assert_eq!(filetime(ticks).timestamp().unwrap().to_string(), text);
        check(116_444_736_000_000_000, "1970-01-01T00:00:00Z");
        check(132_000_000_001_234_567, "2019-04-17T18:40:00.1234567Z");
        check(0, "1601-01-01T00:00:00Z");
        let _ = filetime(u64::MAX);
    }
}
