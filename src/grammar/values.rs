//! Values: what each kind admits, and how a value that is admitted reads.

use std::borrow::Cow;

use super::addresses;
use super::row::{Column, Form, Kind, OutputFormat, Parameter, Row};
use super::table::table;

/// Why a value is not admitted: what was expected, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expected(pub(super) Cow<'static, str>);

/// The kind of a parameter on a line where others have these values: the `id` of `remediate process` is a pid.
pub(super) fn kind_of<'v>(parameter: &Parameter, value_of: impl Fn(&str) -> Option<&'v str>) -> Kind {
    for (other, kinds) in &parameter.kind_by {
        let Some(value) = value_of(other) else { continue };
        if let Some((_, kind)) = kinds.iter().find(|(wanted, _)| wanted.eq_ignore_ascii_case(value)) {
            return *kind;
        }
    }
    parameter.kind
}

/// The value as the definition spells it.
pub(super) fn canonical<'v>(
    parameter: &Parameter,
    kind: Kind,
    value: &'v str,
    row: &Row,
    form: Option<&Form>,
) -> Result<Cow<'v, str>, Expected> {
    if let Some(form) = form
        && form.when.strip_prefix("value:").is_some_and(|wanted| wanted.eq_ignore_ascii_case(value))
        && row.params.first().is_some_and(|first| first.name == parameter.name)
    {
        return Ok(Cow::Owned(value.to_ascii_lowercase()));
    }
    let is_path = matches!(kind, Kind::Path | Kind::LocalPath);
    if value.is_empty() && !parameter.empty.unwrap_or(!is_path) {
        let here = if kind == Kind::Path { "; the current directory is `.`" } else { "" };
        return Err(Expected(format!("{}{here}", expected(kind, row, form)).into()));
    }
    if !parameter.choices.is_empty() {
        let choice = parameter.choices.iter().find(|choice| choice.eq_ignore_ascii_case(value));
        return choice.map(|choice| Cow::Owned(choice.clone())).ok_or_else(|| Expected(one_of(&parameter.choices).into()));
    }
    let admitted = match kind {
        Kind::Command => {
            return table().find(value).map(|row| Cow::Owned(row.name.clone())).ok_or(Expected("the name of a command".into()));
        }
        Kind::Pid => {
            value.bytes().all(|c| c.is_ascii_digit()) && value.parse::<u32>().is_ok_and(|pid| (1..=4_194_304).contains(&pid))
        }
        Kind::Count => is_number(value),
        Kind::CommandId => {
            let is_id = |c| u8::is_ascii_hexdigit(&c) || c == b'-';
            // Digits are a number first, and none is 0; as the start of an id that would mean every command.
            value.trim_start_matches('0').bytes().next().is_some() && !value.starts_with('-') && value.bytes().all(is_id)
        }
        Kind::Size => is_size(value),
        Kind::Age => is_duration(value.strip_prefix(['+', '-']).unwrap_or(value)) || is_time(value),
        Kind::Duration => is_duration(value),
        Kind::Sha256 => value.len() == 64 && value.bytes().all(|c| c.is_ascii_hexdigit()),
        Kind::Sort => {
            return check_field(value.strip_prefix('-').unwrap_or(value), row, form).map(|()| Cow::Borrowed(value));
        }
        Kind::Fields => return check_fields(value, row, form).map(|()| Cow::Borrowed(value)),
        Kind::Addresses => match addresses::first_wrong(value) {
            Some((_, expected)) => return Err(Expected(expected)),
            None => true,
        },
        Kind::Path | Kind::Name | Kind::Device | Kind::LocalPath | Kind::Text | Kind::Choice => true,
    };
    if admitted { Ok(Cow::Borrowed(value)) } else { Err(Expected(expected(kind, row, form))) }
}

/// Whether a word that begins with a dash may be a value of this kind.
pub(super) fn admits_dash(kind: Kind) -> bool {
    matches!(kind, Kind::Size | Kind::Age | Kind::Text | Kind::Path | Kind::Name | Kind::Sort)
}

/// Whether a value is a number: what the form `number` asks.
pub(super) fn is_number(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|c| c.is_ascii_digit()) && value.parse::<u64>().is_ok()
}

/// The format that a value of `output` names.
pub(super) fn output_format(value: &str) -> Option<OutputFormat> {
    match value {
        "table" => Some(OutputFormat::Table),
        "json" => Some(OutputFormat::Json),
        "csv" => Some(OutputFormat::Csv),
        "jsonl" => Some(OutputFormat::Jsonl),
        _ => None,
    }
}

/// The fields of the answer: the form's, or the row's.
pub(super) fn columns<'t>(row: &'t Row, form: Option<&'t Form>) -> &'t [Column] {
    match form {
        Some(form) if !form.columns.is_empty() => &form.columns,
        _ => &row.columns,
    }
}

/// What a kind admits, for people.
pub(super) fn expected(kind: Kind, row: &Row, form: Option<&Form>) -> Cow<'static, str> {
    match kind {
        Kind::Pid => "a process id, 1 to 4194304".into(),
        Kind::Count => "a whole number".into(),
        Kind::Command => "the name of a command".into(),
        Kind::CommandId => "a command's number, from 1 on, or its id or the start of it".into(),
        Kind::Size => "a size such as 10M, +1G (at least) or -4k (at most)".into(),
        Kind::Age => {
            "an age such as -2d (in the last two days) or +1h (longer ago), or a time such as 2026-01-31T12:00:00Z".into()
        }
        Kind::Duration => "a duration such as 30m, 2h or 1d".into(),
        Kind::Sha256 => "a SHA-256: 64 hexadecimal digits".into(),
        Kind::Sort | Kind::Fields => {
            let names: Vec<&str> = columns(row, form).iter().map(|column| column.key.as_str()).collect();
            format!("fields of {}: {}", row.name, names.join(", ")).into()
        }
        Kind::Addresses => addresses::EXPECTED.into(),
        Kind::Path => "a path on the device".into(),
        Kind::LocalPath => "a path on this machine".into(),
        Kind::Name => "a name or pattern".into(),
        Kind::Device => "a device".into(),
        Kind::Text | Kind::Choice => "text".into(),
    }
}

fn one_of(choices: &[String]) -> String {
    match choices.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

fn is_size(value: &str) -> bool {
    let digits = value.strip_prefix(['+', '-']).unwrap_or(value);
    let unit = digits.find(['k', 'K', 'M', 'm', 'G', 'g']).unwrap_or(digits.len());
    let (number, unit) = digits.split_at_checked(unit).unwrap_or((digits, ""));
    let bytes: u64 = match unit {
        "" => 1,
        "k" | "K" => 1 << 10,
        "m" | "M" => 1 << 20,
        "g" | "G" => 1 << 30,
        _ => return false,
    };
    is_number(number) && number.parse::<u64>().is_ok_and(|number| number.checked_mul(bytes).is_some())
}

fn is_duration(value: &str) -> bool {
    value.strip_suffix(['s', 'm', 'h', 'd']).is_some_and(|count| is_number(count) && count.parse::<u32>().is_ok())
}

/// A time of RFC 3339, which knows a blank in the place of `T` only where both sides have agreed on it.
fn is_time(value: &str) -> bool {
    matches!(value.as_bytes().get(10), Some(b'T' | b't')) && value.parse::<jiff::Timestamp>().is_ok()
}

/// Fields of the answer, each once: it is a key of the rows that are written.
fn check_fields(value: &str, row: &Row, form: Option<&Form>) -> Result<(), Expected> {
    let mut known = Vec::new();
    for field in value.split(',').map(str::trim) {
        check_field(field, row, form)?;
        if known.contains(&field) {
            return Err(Expected(format!("each field once, and `{field}` is there twice").into()));
        }
        known.push(field);
    }
    Ok(())
}

/// A field of the answer, or one within an object (`task.registrationInfo`). Where the row lists none, any name.
fn check_field(name: &str, row: &Row, form: Option<&Form>) -> Result<(), Expected> {
    let columns = columns(row, form);
    if !name.is_empty() && (columns.is_empty() || columns.iter().any(|column| column.holds(name))) {
        return Ok(());
    }
    let object = name.split_once('.').and_then(|(head, _)| columns.iter().find(|column| column.key == head));
    Err(Expected(match object {
        Some(object) if object.fields.is_empty() => format!("`{0}` alone: there are no fields within {0}", object.key).into(),
        Some(object) => format!("fields of {}: {}", object.key, object.fields.join(", ")).into(),
        None => expected(Kind::Fields, row, form),
    }))
}

/// Whether a path has a NUL in it, also as `file:///` writes it: no file is called so.
pub(super) fn has_nul(kind: Kind, value: &str, quoted: bool) -> bool {
    let is_path = matches!(kind, Kind::Path | Kind::LocalPath);
    let is_uri = kind == Kind::Path && !quoted && value.starts_with("file:///");
    is_path && value.contains('\0') || is_uri && value.contains("%00")
}
