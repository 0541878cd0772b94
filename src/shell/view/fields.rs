//! Fields of a row that is raw JSON, found without building the row: tables of a million rows are read this way.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The fields to find in each row: a key, or `a.b` for one within an object.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// The first parts, each once.
    heads: Vec<String>,
    /// Of each wanted field: its first part's place, and the rest.
    fields: Vec<(usize, Option<String>)>,
}

impl Wanted {
    pub(super) fn new<'k>(keys: impl IntoIterator<Item = &'k str>) -> Self {
        let (mut heads, mut fields) = (Vec::<String>::new(), Vec::new());
        for key in keys {
            let (head, rest) = key.split_once('.').map_or((key, None), |(head, rest)| (head, Some(rest.to_owned())));
            let at = heads.iter().position(|known| known == head).unwrap_or_else(|| {
                heads.push(head.to_owned());
                heads.len() - 1
            });
            fields.push((at, rest));
        }
        Self { heads, fields }
    }

    /// The raw values of the wanted fields, in their order; `None` for one that is not there.
    pub(super) fn find<'r>(&self, row: &'r str) -> Vec<Option<&'r str>> {
        let mut found: Vec<Option<&'r str>> = vec![None; self.heads.len()];
        // What is no object has no fields.
        let _ = serde_json::Deserializer::from_str(row).deserialize_map(Heads { heads: &self.heads, found: &mut found });
        let field = |(head, rest): &(usize, Option<String>)| {
            let value = found.get(*head).copied().flatten()?;
            rest.as_deref().map_or(Some(value), |rest| within(value, rest))
        };
        self.fields.iter().map(field).collect()
    }
}

/// A field of a row.
pub(super) fn find<'r>(row: &'r str, key: &str) -> Option<&'r str> {
    within(row, key)
}

fn within<'r>(value: &'r str, key: &str) -> Option<&'r str> {
    Wanted::new([key]).find(value).pop().flatten()
}

struct Heads<'w, 'r> {
    heads: &'w [String],
    found: &'w mut [Option<&'r str>],
}

impl<'de> Visitor<'de> for Heads<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        // Rows have their keys in the order of the columns, so the next one is tried first.
        let mut next = 0;
        while let Some(place) = map.next_key_seed(Head { heads: self.heads, next })? {
            match place.and_then(|place| self.found.get_mut(place).map(|slot| (place, slot))) {
                Some((place, slot)) => {
                    *slot = Some(map.next_value::<&RawValue>()?.get());
                    next = place + 1;
                }
                None => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        Ok(())
    }
}

struct Head<'w> {
    heads: &'w [String],
    next: usize,
}

impl<'de> DeserializeSeed<'de> for Head<'_> {
    type Value = Option<usize>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Head<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        if self.heads.get(self.next).is_some_and(|head| head == key) {
            return Ok(Some(self.next));
        }
        Ok(self.heads.iter().position(|head| head == key))
    }
}

/// Whether a test holds for any text, number or truth value within a raw value, keys left out.
pub(super) fn any(raw: &str, test: &mut dyn FnMut(&str) -> bool) -> bool {
    serde_json::Deserializer::from_str(raw).deserialize_any(Any(test)).unwrap_or(false)
}

struct Any<'t>(&'t mut dyn FnMut(&str) -> bool);

impl<'de> DeserializeSeed<'de> for Any<'_> {
    type Value = bool;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Any<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E>(self, text: &str) -> Result<bool, E> {
        Ok((self.0)(text))
    }

    fn visit_bool<E>(self, value: bool) -> Result<bool, E> {
        Ok((self.0)(if value { "true" } else { "false" }))
    }

    fn visit_u64<E>(self, number: u64) -> Result<bool, E> {
        Ok((self.0)(&number.to_string()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<bool, E> {
        Ok((self.0)(&number.to_string()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<bool, E> {
        Ok((self.0)(&number.to_string()))
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<bool, A::Error> {
        let mut found = false;
        while let Some(item) = items.next_element_seed(Any(&mut *self.0))? {
            found |= item;
        }
        Ok(found)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let mut found = false;
        while map.next_key::<IgnoredAny>()?.is_some() {
            found |= map.next_value_seed(Any(&mut *self.0))?;
        }
        Ok(found)
    }
}

/// A raw value as text: a string's content, nothing for null, anything else as it stands.
pub(super) fn text(raw: &str) -> Cow<'_, str> {
    if raw == "null" {
        return Cow::Borrowed("");
    }
    if !raw.starts_with('"') {
        return Cow::Borrowed(raw);
    }
    let inner = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"'));
    match inner {
        Some(inner) if !inner.contains('\\') => Cow::Borrowed(inner),
        _ => serde_json::from_str(raw).map_or(Cow::Borrowed(raw), Cow::Owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_key_and_within_objects() {
        let row = r#"{"name":"a\nb","size":12,"x":null,"task":{"exec":[{"command":"sh"}],"user":{"id":0}}}"#;
        let wanted = Wanted::new(["size", "name", "none", "task.user.id", "task.exec", "x", "size.more"]);
        let found = wanted.find(row);
        assert_eq!(found, [Some("12"), Some(r#""a\nb""#), None, Some("0"), Some(r#"[{"command":"sh"}]"#), Some("null"), None]);
        assert_eq!(found.iter().map(|raw| text(raw.unwrap_or("null"))).collect::<Vec<_>>()[1], "a\nb");
        assert_eq!(wanted.find("[1]"), vec![None; 7]);
        assert_eq!(find(row, "size"), Some("12"));
    }

    #[test]
    fn any_looks_at_values_and_not_at_keys() {
        let row = r#"{"name":"sshd","deep":[{"x":[true,-5,1.5]}],"none":null}"#;
        let check = |wanted: &str, there| assert_eq!(any(row, &mut |text| text == wanted), there, "{wanted}");
        check("sshd", true);
        check("true", true);
        check("-5", true);
        check("1.5", true);
        check("name", false);
        check("null", false);
    }
}
