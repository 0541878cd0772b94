//! What D-Bus messages carry (the specification's "Message Protocol"), as far as systemd's answers need it. Pure.

use super::bus::UnitState;

/// The order of bytes that this machine writes messages in.
pub(super) const ENDIAN: u8 = if cfg!(target_endian = "little") { b'l' } else { b'B' };

/// Zeros up to the next multiple.
pub(super) fn pad(bytes: &mut Vec<u8>, to: usize) {
    bytes.resize(bytes.len().next_multiple_of(to), 0);
}

/// Appends a text, its length before it.
pub(super) fn string(bytes: &mut Vec<u8>, text: &str) {
    pad(bytes, 4);
    bytes.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_ne_bytes());
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(0);
}

/// Which call a message answers: header field 5. Fields are `(code, variant)` with one-letter signatures in these messages.
pub(super) fn reply_serial(fields: &[u8]) -> Option<u32> {
    let mut reader = Reader { bytes: fields, at: 0 };
    for _ in 0..16 {
        reader.align(8);
        let code = reader.u8()?;
        let [1, kind, 0] = [reader.u8()?, reader.u8()?, reader.u8()?] else { return None };
        match kind {
            b'u' => {
                let value = reader.u32()?;
                if code == 5 {
                    return Some(value);
                }
            }
            b'g' => reader.at += usize::from(reader.u8()?) + 1,
            b's' | b'o' => {
                reader.text()?;
            }
            _ => return None,
        }
    }
    None
}

/// `a(ssssssouso)`.
#[must_use]
pub fn parse_units(body: &[u8]) -> Option<Vec<UnitState>> {
    let mut reader = Reader { bytes: body, at: 0 };
    let length = reader.u32()? as usize;
    reader.align(8);
    let end = reader.at.checked_add(length)?;
    let mut units = Vec::new();
    while reader.at < end {
        reader.align(8);
        let mut text = || reader.text();
        let (name, description, load, active, sub) = (text()?, text()?, text()?, text()?, text()?);
        let _following = text()?;
        let path = text()?;
        reader.u32()?;
        reader.text()?;
        reader.text()?;
        units.push(UnitState { name, description, load, active, sub, main_pid: None, path });
    }
    Some(units)
}

/// A variant that holds a number.
pub(super) fn parse_pid(body: &[u8]) -> Option<u32> {
    let mut reader = Reader { bytes: body, at: 0 };
    let [1, b'u', 0] = [reader.u8()?, reader.u8()?, reader.u8()?] else { return None };
    reader.u32().filter(|&pid| pid != 0)
}

/// A variant that holds a time.
pub(super) fn parse_micros(body: &[u8]) -> Option<u64> {
    let mut reader = Reader { bytes: body, at: 0 };
    let [1, b't', 0] = [reader.u8()?, reader.u8()?, reader.u8()?] else { return None };
    reader.align(8);
    let bytes = body.get(reader.at..reader.at + 8)?;
    Some(u64::from_ne_bytes(bytes.try_into().ok()?))
}

/// The text or object path that a body begins with.
pub(super) fn first_text(body: &[u8]) -> Option<String> {
    Reader { bytes: body, at: 0 }.text()
}

/// A variant that holds a number and an object path: a unit's job, 0 where it has none.
pub(super) fn variant_job(body: &[u8]) -> Option<u32> {
    let mut reader = Reader { bytes: body, at: 0 };
    for expected in [4, b'(', b'u', b'o', b')', 0] {
        (reader.u8()? == expected).then_some(())?;
    }
    reader.align(8);
    reader.u32()
}

/// A variant that holds a text.
pub(super) fn variant_text(body: &[u8]) -> Option<String> {
    let mut reader = Reader { bytes: body, at: 0 };
    let [1, b's', 0] = [reader.u8()?, reader.u8()?, reader.u8()?] else { return None };
    reader.text()
}

/// Reads a body value by value; `None` where it is cut.
pub(super) struct Reader<'a> {
    /// The body.
    pub(super) bytes: &'a [u8],
    /// How far it was read.
    pub(super) at: usize,
}

impl Reader<'_> {
    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn u8(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    /// A number.
    pub(super) fn u32(&mut self) -> Option<u32> {
        self.align(4);
        let bytes = self.bytes.get(self.at..self.at + 4)?;
        self.at += 4;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    }

    fn text(&mut self) -> Option<String> {
        let length = self.u32()? as usize;
        let bytes = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length + 1;
        Some(String::from_utf8_lossy(bytes).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_and_broken_bodies_are_refused() {
        let mut body = Vec::new();
        for text in ["a.service", "A", "loaded", "active", "running", "", "/a"] {
            string(&mut body, text);
        }
        pad(&mut body, 4);
        body.extend_from_slice(&0_u32.to_ne_bytes());
        string(&mut body, "");
        string(&mut body, "/");
        let mut whole = u32::try_from(body.len()).unwrap().to_ne_bytes().to_vec();
        pad(&mut whole, 8);
        whole.extend_from_slice(&body);
        let units = parse_units(&whole).unwrap();
        assert_eq!((units.len(), units[0].sub.as_str(), units[0].path.as_str()), (1, "running", "/a"));
        for end in 0..whole.len() - 1 {
            assert!(parse_units(&whole[..end]).is_none_or(|units| end < 8 || units.len() <= 1), "{end}");
        }
        assert_eq!(parse_units(&[0xff; 64]), None);
        assert_eq!(parse_pid(&[1, b'u', 0, 0, 7, 0, 0, 0]), Some(u32::from_ne_bytes([7, 0, 0, 0])));
        assert_eq!(parse_pid(&[1, b's', 0]), None);
        assert_eq!(
            parse_micros(&[1, b't', 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0]),
            Some(u64::from_ne_bytes([7, 0, 0, 0, 0, 0, 0, 0]))
        );
        assert_eq!(parse_micros(&[1, b't', 0, 0, 0, 0, 0, 0, 7]), None);
        assert_eq!(reply_serial(&[0xff; 32]), None);
    }
}
