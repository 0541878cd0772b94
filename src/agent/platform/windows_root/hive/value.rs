//! Values of a hive: their types, and what they hold.

use super::{Hive, HiveError};
use crate::agent::digest::hex;
use crate::agent::platform::windows_root::text;

/// The most of what stands behind a text's end that is told.
const MAX_HIDDEN: usize = 256;

/// A value.
#[derive(Debug, Clone)]
pub struct Value {
    /// Its name; empty for the key's default value.
    pub name: String,
    /// Its type, as Windows numbers them.
    pub kind: u32,
    /// How many bytes it has.
    pub size: u32,
    pub(super) data: Place,
}

/// Where the bytes of a value are.
#[derive(Debug, Clone)]
pub(super) enum Place {
    Inline([u8; 4]),
    Cell(u32),
}

/// What a value holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// `REG_SZ`, `REG_EXPAND_SZ`, `REG_LINK`.
    Text(String),
    /// `REG_MULTI_SZ`.
    List(Vec<String>),
    /// `REG_DWORD`, in either order of bytes, and `REG_QWORD`.
    Number(u64),
    /// Everything else.
    Bytes(Vec<u8>),
}

impl Data {
    /// The text, where it is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number, where it is one.
    #[must_use]
    pub fn number(&self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The texts: of a list all, of a text itself.
    #[must_use]
    pub fn texts(&self) -> &[String] {
        match self {
            Self::List(texts) => texts,
            Self::Text(text) => std::slice::from_ref(text),
            _ => &[],
        }
    }
}

impl Value {
    /// What Windows calls its type; a number where it has no name.
    #[must_use]
    pub fn kind_name(&self) -> String {
        const NAMES: [&str; 12] = [
            "REG_NONE",
            "REG_SZ",
            "REG_EXPAND_SZ",
            "REG_BINARY",
            "REG_DWORD",
            "REG_DWORD_BIG_ENDIAN",
            "REG_LINK",
            "REG_MULTI_SZ",
            "REG_RESOURCE_LIST",
            "REG_FULL_RESOURCE_DESCRIPTOR",
            "REG_RESOURCE_REQUIREMENTS_LIST",
            "REG_QWORD",
        ];
        let name = usize::try_from(self.kind).ok().and_then(|kind| NAMES.get(kind));
        name.map_or_else(|| format!("{:#x}", self.kind), |name| (*name).to_owned())
    }
}

impl Hive {
    /// What a value holds; and of a text what stands behind the zero that ends it, as a clause: Windows' own tools do not show that.
    ///
    /// # Errors
    /// As [`Hive::data`].
    pub fn told(&self, value: &Value) -> Result<(Data, Option<String>), HiveError> {
        let bytes = self.raw(value)?;
        let hidden = if matches!(value.kind, 1 | 2 | 6) { behind(&bytes) } else { None };
        Ok((Data::of(value.kind, bytes), hidden))
    }
}

/// What stands behind the first zero of a text, where that is not nothing.
fn behind(bytes: &[u8]) -> Option<String> {
    let end = bytes.chunks(2).position(|unit| unit == [0, 0])?;
    let hidden = bytes.get(2 * end..)?;
    let first = hidden.chunks(2).position(|unit| unit.iter().any(|&byte| byte != 0))?;
    let hidden = hidden.get(2 * first..)?;
    let hidden = hidden.get(..hidden.len() - hidden.iter().rev().take_while(|&&byte| byte == 0).count())?;
    // The last letter's upper byte may be one of those zeros.
    let text = text::utf16_exact(&[hidden, &[0]].concat());
    let plain = !text.is_empty() && text.chars().all(|letter| !letter.is_control() && letter != char::REPLACEMENT_CHARACTER);
    let told = if plain {
        format!("{:?}", text.chars().take(MAX_HIDDEN).collect::<String>())
    } else {
        hex(hidden.get(..MAX_HIDDEN).unwrap_or(hidden))
    };
    Some(format!("behind the zero that ends its text stand {} bytes more: {told}", hidden.len()))
}

impl Data {
    /// What bytes of that type hold. Numbers of a wrong length are bytes.
    pub(super) fn of(kind: u32, bytes: Vec<u8>) -> Self {
        let number = |bytes: &[u8]| match (kind, bytes.len()) {
            (4, 4) => bytes.try_into().ok().map(|bytes| u32::from_le_bytes(bytes).into()),
            (5, 4) => bytes.try_into().ok().map(|bytes| u32::from_be_bytes(bytes).into()),
            (11, 8) => bytes.try_into().ok().map(u64::from_le_bytes),
            _ => None,
        };
        match kind {
            1 | 2 | 6 => Self::Text(text::utf16(&bytes)),
            7 => Self::List(text::utf16_list(&bytes)),
            _ => number(&bytes).map_or(Self::Bytes(bytes), Self::Number),
        }
    }
}
