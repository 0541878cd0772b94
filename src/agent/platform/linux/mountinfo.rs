//! How `/proc/PID/mountinfo` writes words, after proc(5).

/// A word as it is meant: blanks, line ends and backslashes stand there in octal (`\040`).
pub(super) fn unescaped(word: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((&first, behind)) = rest.split_first() {
        let code = behind.get(..3).filter(|_| first == b'\\').and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = behind.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(first);
                rest = behind;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_mount_points_are_read() {
        let check = |word: &str, text: &str| assert_eq!(unescaped(word.as_bytes()), text.as_bytes());
        check("/a\\040b\\134c", "/a b\\c");
        check("/plain\\", "/plain\\");
        check("\\0", "\\0");
        check("\\777", "\\777");
    }
}
