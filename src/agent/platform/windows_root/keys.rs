//! What `registry` tells: the values of a key and its subkeys, or one value.

use serde_json::Value as Json;

use super::found::Found;
use super::hive::{Data, Key, MAX_DATA, Value};
use super::registry::{Place, Registry};
use crate::agent::context::{Stop, VerbResult};
use crate::agent::digest::hex;
use crate::agent::platform::RegistryItem;
use crate::protocol::Problem;

/// What the default value of a key, which has no name, is called in rows.
pub const DEFAULT: &str = "(Default)";

/// Tells what is at a path: `KEY` or `KEY\\value`.
///
/// # Errors
/// When there is no such thing, its hive cannot be read, or the command was asked to stop.
pub fn tell(registry: &Registry<'_>, typed: &str, stop: &Stop, tell: &mut dyn FnMut(RegistryItem) -> VerbResult) -> VerbResult {
    // The whole path may begin with backslashes, as links within hives do.
    let inner = typed.trim_start_matches('\\');
    let (path, wanted) = inner.split_once(r"\\").map_or((inner, None), |(path, name)| (path, Some(name)));
    let found = match registry.find(path)? {
        Place::Key(found) => found,
        Place::Above { path, .. } if wanted.is_some() => {
            return Err(Problem::new("not_found", format!("{path} has no values, only keys")).about("path").into());
        }
        Place::Above { keys, .. } => {
            for path in keys {
                tell(RegistryItem { path, kind: Some("key".to_owned()), ..RegistryItem::default() })?;
            }
            return Ok(());
        }
    };
    if let Some(name) = wanted {
        let value = value(&found, name)?.ok_or_else(|| {
            let name = if name.is_empty() { DEFAULT } else { name };
            Problem::new("not_found", format!("{} has no value {name}", found.path)).about("path")
        })?;
        return tell(item(&found, &value));
    }
    let damaged = |error| found.broken(&error);
    let (keys_claimed, values_claimed) = found.key.counts();
    let values = found.hive.values(&found.key).map_err(damaged)?;
    found.compare(values.len(), values_claimed, "values");
    for value in values {
        stop.check()?;
        tell(match value {
            Ok(value) => item(&found, &value),
            Err(error) => RegistryItem { error: Some(error.to_string()), ..bare(&found) },
        })?;
    }
    let keys = found.hive.subkeys(&found.key).map_err(damaged)?;
    found.compare(keys.len(), keys_claimed, "subkeys");
    for key in keys {
        stop.check()?;
        tell(match key {
            Ok(key) => subkey(&found, &key),
            Err(error) => RegistryItem { kind: Some("key".to_owned()), error: Some(error.to_string()), ..bare(&found) },
        })?;
    }
    Ok(())
}

/// The value of that name; that which has none also by what rows call it.
fn value(found: &Found, name: &str) -> Result<Option<Value>, Problem> {
    let of = |name: &str| found.hive.value(&found.key, name).map_err(|error| found.broken(&error));
    match of(name)? {
        None if name.eq_ignore_ascii_case(DEFAULT) => of(""),
        known => Ok(known),
    }
}

/// A value as it is told.
pub fn item(found: &Found, value: &Value) -> RegistryItem {
    let told = found.hive.told(value);
    let cut = value.size as usize > MAX_DATA;
    let cut = cut.then(|| format!("only the first {MAX_DATA} of its {} bytes are told", value.size));
    RegistryItem {
        name: Some(if value.name.is_empty() { DEFAULT.to_owned() } else { value.name.clone() }),
        kind: Some(value.kind_name()),
        error: match &told {
            Err(error) => Some(error.to_string()),
            Ok((_, hidden)) => cut.or_else(|| hidden.clone()),
        },
        value: told.map_or(Json::Null, |(data, _)| match data {
            Data::Text(text) => text.into(),
            Data::List(texts) => texts.into(),
            Data::Number(number) => number.into(),
            Data::Bytes(bytes) => hex(&bytes).into(),
        }),
        ..bare(found)
    }
}

fn subkey(found: &Found, key: &Key) -> RegistryItem {
    RegistryItem {
        path: format!(r"{}\{}", found.path, key.name),
        kind: Some("key".to_owned()),
        modified: Some(key.written),
        ..bare(found)
    }
}

fn bare(found: &Found) -> RegistryItem {
    let (modified, hive) = (Some(found.key.written), Some(found.file.clone()));
    RegistryItem { path: found.path.clone(), modified, hive, ..RegistryItem::default() }
}
