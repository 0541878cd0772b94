//! The log as it is told: thousands of commands at once. SQLite writes their fields as JSON, a page at a time, and what is
//! told of them is put together from that text: no record is made of a command that has ended.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use jiff::Timestamp;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;
use sqlx::Row;

use super::{Result, Store, decode};
use crate::protocol::{CommandBrief, CommandId, CommandRecord, SessionId, Status};

/// So many commands are asked for at once.
const PAGE: usize = 1000;

/// Whose commands are told.
#[derive(Debug, Clone)]
pub(in crate::service) enum LogOf {
    /// Those of a session, all of them.
    Session(SessionId),
    /// The newest of every session: of one device, or of all.
    Device {
        /// Its id.
        id: Option<String>,
        /// So many at most.
        newest: u32,
    },
}

/// A field of [`CommandRecord`], in its order.
struct Field {
    name: &'static str,
    /// Where the store has it.
    column: &'static str,
    kind: Kind,
    /// Whether [`CommandBrief`] has it too.
    brief: bool,
}

/// How a column is told.
#[derive(Clone, Copy)]
enum Kind {
    /// As it is.
    Plain,
    /// 0 and 1.
    Flag,
    /// A text that is JSON.
    Json,
    /// The JSON of the items of a list, or null.
    Items,
    /// Microseconds since 1970, or null.
    Time,
}

const EFFECTS: &str =
    "(SELECT group_concat(effect, ',' ORDER BY effect_id) FROM effects WHERE effects.command_id = commands.command_id)";

const FIELDS: [Field; 22] = [
    field("number", "number", Kind::Plain, true),
    field("command_id", "command_id", Kind::Plain, true),
    field("session_id", "session_id", Kind::Plain, true),
    field("command_definition_id", "definition", Kind::Plain, false),
    field("raw_command_line", "line", Kind::Plain, true),
    field("params", "params", Kind::Json, false),
    field("flags", "flags", Kind::Json, false),
    field("current_directory", "current_directory", Kind::Plain, false),
    field("background_mode", "background", Kind::Flag, false),
    field("analyst", "analyst", Kind::Plain, false),
    field("shell", "shell", Kind::Plain, false),
    field("created", "created", Kind::Time, true),
    field("started", "started", Kind::Time, true),
    field("completed", "completed", Kind::Time, false),
    field("duration_ms", "duration_ms", Kind::Plain, true),
    field("status", "status", Kind::Plain, true),
    field("place", "NULL", Kind::Plain, false),
    field("errors", "errors", Kind::Json, false),
    field("cancelled_by", "cancelled_by", Kind::Plain, false),
    field("effects", EFFECTS, Kind::Items, false),
    field("last_event", "last_event", Kind::Plain, false),
    field("continued_by", "continued_by", Kind::Plain, false),
];

const fn field(name: &'static str, column: &'static str, kind: Kind, brief: bool) -> Field {
    Field { name, column, kind, brief }
}

/// A log that is being told, oldest first.
pub(in crate::service) struct Log {
    store: Store,
    of: LogOf,
    sql: String,
    brief: bool,
    /// The place of the last command that was told: its time or number, and its id.
    last: (i64, String),
    is_over: bool,
}

impl Store {
    /// The log of these commands: whole records, or their briefs.
    pub(in crate::service) async fn log(&self, of: LogOf, brief: bool) -> Result<Log> {
        let (order, theirs, last) = match &of {
            LogOf::Session(_) => ("number", "session_id = $1", None),
            LogOf::Device { id, newest } => ("created", OF_DEVICE, self.before_the_newest(id.as_deref(), *newest).await?),
        };
        let columns: Vec<&str> = fields(brief).map(|field| field.column).collect();
        let sql = format!(
            "SELECT json_group_array(json_array({order}, command_id, status, {})) FROM (SELECT * FROM commands \
             WHERE {theirs} AND ({order}, command_id) > ($2, $3) ORDER BY {order}, command_id LIMIT {PAGE}) AS commands",
            columns.join(", ")
        );
        let last = last.unwrap_or((i64::MIN, String::new()));
        Ok(Log { store: self.clone(), of, sql, brief, last, is_over: false })
    }

    /// The place of the last command that is too old to be among the newest.
    async fn before_the_newest(&self, device: Option<&str>, newest: u32) -> Result<Option<(i64, String)>> {
        let sql = format!(
            "SELECT created, command_id FROM commands WHERE {OF_DEVICE} ORDER BY created DESC, command_id DESC LIMIT 1 OFFSET $2"
        );
        let row = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(device).bind(i64::from(newest)).fetch_optional(&self.pool).await?;
        row.map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).transpose()
    }
}

/// Whether a command is of the device `$1`. Asked of each on the way through the log's order: sorting takes longer.
const OF_DEVICE: &str = "($1 IS NULL OR EXISTS (SELECT 1 FROM sessions \
     WHERE sessions.session_id = commands.session_id AND sessions.device_id = $1))";

fn fields(brief: bool) -> impl Iterator<Item = &'static Field> {
    FIELDS.iter().filter(move |field| field.brief || !brief)
}

impl Log {
    /// The next commands as items of a JSON array, without its brackets; `None` when all are told. `now` is asked for the
    /// record of a command that had not ended when it was last written down.
    pub(in crate::service) async fn page(
        &mut self,
        now: &(impl Fn(CommandId) -> Option<CommandRecord> + Sync),
    ) -> Result<Option<String>> {
        if self.is_over {
            return Ok(None);
        }
        let whose = match &self.of {
            LogOf::Session(id) => Some(id.as_str()),
            LogOf::Device { id, .. } => id.as_deref(),
        };
        let row = sqlx::query(sqlx::AssertSqlSafe(self.sql.clone()))
            .bind(whose)
            .bind(self.last.0)
            .bind(&self.last.1)
            .fetch_one(&self.store.pool)
            .await?;
        let stored: &str = row.try_get(0)?;
        let mut page = Page { brief: self.brief, now, told: String::with_capacity(stored.len() * 2), count: 0, last: None };
        Rows(&mut page).deserialize(&mut serde_json::Deserializer::from_str(stored)).map_err(decode)?;
        self.is_over = page.count < PAGE;
        if let Some((place, id)) = page.last {
            self.last = (place, id.to_owned());
        }
        Ok((page.count > 0).then_some(page.told))
    }

    /// Whether all are told.
    pub(in crate::service) fn is_over(&self) -> bool {
        self.is_over
    }
}

/// A page being put together.
struct Page<'p, 'de, F> {
    brief: bool,
    now: &'p F,
    told: String,
    count: usize,
    last: Option<(i64, &'de str)>,
}

struct Rows<'r, 'p, 'de, F>(&'r mut Page<'p, 'de, F>);

struct OneRow<'r, 'p, 'de, F>(&'r mut Page<'p, 'de, F>);

impl<'de, F: Fn(CommandId) -> Option<CommandRecord>> DeserializeSeed<'de> for Rows<'_, '_, 'de, F> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> std::result::Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, F: Fn(CommandId) -> Option<CommandRecord>> Visitor<'de> for Rows<'_, '_, 'de, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of commands")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> std::result::Result<(), A::Error> {
        while rows.next_element_seed(OneRow(&mut *self.0))?.is_some() {}
        Ok(())
    }
}

impl<'de, F: Fn(CommandId) -> Option<CommandRecord>> DeserializeSeed<'de> for OneRow<'_, '_, 'de, F> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> std::result::Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, F: Fn(CommandId) -> Option<CommandRecord>> Visitor<'de> for OneRow<'_, '_, 'de, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a command's place and fields")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut row: A) -> std::result::Result<(), A::Error> {
        let Self(page) = self;
        let short = || A::Error::custom("a command lacks fields");
        let place: i64 = row.next_element()?.ok_or_else(short)?;
        let id: &'de str = row.next_element()?.ok_or_else(short)?;
        let status: &'de str = row.next_element()?.ok_or_else(short)?;
        page.last = Some((place, id));
        page.count += 1;
        let out = &mut page.told;
        if !out.is_empty() {
            out.push_str(",\n");
        }
        let ended = status != Status::Pending.as_str() && status != Status::Running.as_str();
        if let Some(record) = id.parse().ok().filter(|_| !ended).and_then(page.now) {
            while row.next_element::<IgnoredAny>()?.is_some() {}
            let json =
                if page.brief { serde_json::to_string(&CommandBrief::from(record)) } else { serde_json::to_string(&record) };
            out.push_str(&json.map_err(A::Error::custom)?);
            return Ok(());
        }
        for (n, field) in fields(page.brief).enumerate() {
            let value: &'de RawValue = row.next_element()?.ok_or_else(short)?;
            out.push_str(if n == 0 { "{\"" } else { ",\"" });
            out.push_str(field.name);
            out.push_str("\":");
            field.kind.tell(value.get(), out).map_err(A::Error::custom)?;
        }
        out.push('}');
        Ok(())
    }
}

impl Kind {
    /// Writes a column's value, which is JSON, as the field has it.
    fn tell(self, value: &str, out: &mut String) -> std::result::Result<(), String> {
        match self {
            Self::Plain => out.push_str(value),
            Self::Flag => out.push_str(if value == "0" { "false" } else { "true" }),
            Self::Items if value == "null" => out.push_str("[]"),
            Self::Json => out.push_str(&inner(value)?),
            Self::Items => {
                out.push('[');
                out.push_str(&inner(value)?);
                out.push(']');
            }
            Self::Time if value == "null" => out.push_str(value),
            Self::Time => {
                let micros = value.parse().map_err(|_| format!("{value} is no time"))?;
                let time = Timestamp::from_microsecond(micros).map_err(|error| error.to_string())?;
                // Writing to a string cannot fail.
                let _ = write!(out, "\"{time}\"");
            }
        }
        Ok(())
    }
}

/// The JSON within a text that is written as JSON.
fn inner(value: &str) -> std::result::Result<Cow<'_, str>, String> {
    let plain = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).filter(|value| !value.contains('\\'));
    match plain {
        Some(plain) => Ok(Cow::Borrowed(plain)),
        None => serde_json::from_str(value).map(Cow::Owned).map_err(|error| error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Device, Effect};
    use crate::service::store::StoredSession;

    /// A store with two sessions, of a device each, and so many commands in turn; one that has not ended, and one with effects.
    async fn store(folder: &std::path::Path, count: i64) -> (Store, Vec<CommandRecord>) {
        let store = Store::open(&folder.join("store.db")).await.unwrap();
        let start = Timestamp::from_second(1_700_000_000).unwrap();
        let mut sessions = Vec::new();
        for device in ["one", "two"] {
            let device: Device = serde_json::from_value(serde_json::json!({
                "id": device, "name": device, "platform": "linux", "version": "1", "os": "x", "last_seen": start,
                "state": "online", "tags": [],
            }))
            .unwrap();
            let session = StoredSession {
                session_id: SessionId::new(),
                device,
                analyst: "ann".to_owned(),
                comment: None,
                started: start,
                ended: None,
                closed_by: None,
                last_command: 0,
                last_activity: start,
            };
            store.add_session(&session).await.unwrap();
            sessions.push(session.session_id);
        }
        let mut ids = Vec::new();
        for n in 0..count {
            let id = CommandId::new();
            let at = usize::from(n % 2 == 1);
            // Two at a time at the same moment; `ended` of all but one.
            let query = sqlx::query(
                "INSERT INTO commands (command_id, session_id, number, definition, line, params, flags, current_directory, \
                 background, analyst, shell, created, started, completed, duration_ms, status, errors, cancelled_by, last_event) \
                 VALUES ($1, $2, $3, 'dir', $4, $5, '[\"deleted\"]', '/', $6, 'ann', NULL, $7, $8, $8, 5, $9, '[]', NULL, 4)",
            )
            .bind(id.to_string())
            .bind(sessions[at].as_str())
            .bind(n / 2 + 1)
            .bind(format!("dir \"{n}\\\u{202e}\n\""))
            .bind(format!(r#"[{{"param_id":"path","value":"{n}\\"}}]"#))
            .bind(n % 3 % 2)
            .bind(start.as_microsecond() + n / 2)
            .bind((n % 5 > 0).then_some(start.as_microsecond() + n))
            .bind(if n == 7 { "running" } else { "completed" });
            store.writer.run(query).await.unwrap();
            ids.push(id);
        }
        for effect_id in [2, 1] {
            let effect: Effect = serde_json::from_value(serde_json::json!({
                "effect_id": effect_id, "type": "file", "target": "a \"b\"", "action": "removed", "before": {"size": 3}, "after": null,
                "undoable": "yes",
            }))
            .unwrap();
            store.add_effect(ids[3], &effect).await.unwrap();
        }
        let mut records = Vec::new();
        for id in ids {
            records.push(store.command(id).await.unwrap().unwrap());
        }
        records.sort_by_key(|record| (record.created, record.command_id.to_string()));
        (store, records)
    }

    /// Every record that a log tells, and in how many pages.
    async fn told<T: serde::de::DeserializeOwned>(store: &Store, of: LogOf, brief: bool) -> (Vec<T>, usize) {
        let mut log = store.log(of, brief).await.unwrap();
        let mut pages = Vec::new();
        while let Some(page) = log.page(&|_| None).await.unwrap() {
            pages.push(page);
        }
        (serde_json::from_str(&format!("[{}]", pages.join(","))).unwrap(), pages.len())
    }

    #[tokio::test]
    async fn a_log_is_told_page_by_page_and_misses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (store, records) = store(folder.path(), 2300).await;
        let device = |id: Option<&str>, newest| LogOf::Device { id: id.map(str::to_owned), newest };
        assert_eq!(told(&store, device(None, 10_000), false).await, (records.clone(), 3));
        assert_eq!(told(&store, device(None, 1500), false).await, (records[800..].to_vec(), 2));
        let of = |session: &str| records.iter().filter(|one| one.session_id == session).cloned().collect::<Vec<_>>();
        let session = records[0].session_id.clone();
        let (mut one, _) = told::<CommandRecord>(&store, device(Some("one"), 10_000), false).await;
        let (two, _) = told::<CommandRecord>(&store, device(Some("two"), 10_000), false).await;
        assert_eq!((one.clone(), two.clone()), (of(&one[0].session_id), of(&two[0].session_id)));
        assert_eq!(one.len() + two.len(), records.len());
        assert_eq!(told(&store, device(Some("one"), 100), false).await, (one.split_off(1050), 1));
        assert_eq!(told::<CommandRecord>(&store, device(Some("none"), 100), false).await, (vec![], 0));
        assert_eq!(told(&store, LogOf::Session(session.parse().unwrap()), false).await, (of(&session), 2));
        let brief: Vec<CommandBrief> = records.iter().cloned().map(CommandBrief::from).collect();
        assert_eq!(told(&store, device(None, 10_000), true).await, (brief, 3));
    }

    #[tokio::test]
    async fn only_what_has_not_ended_is_asked_for_as_it_is_now() {
        let folder = tempfile::tempdir().unwrap();
        let (store, records) = store(folder.path(), 10).await;
        for brief in [false, true] {
            let asked = std::sync::Mutex::new(Vec::new());
            let now = |id: CommandId| {
                asked.lock().unwrap().push(id);
                let record = records.iter().find(|record| record.command_id == id).unwrap();
                Some(CommandRecord { duration_ms: Some(77), ..record.clone() })
            };
            let mut log = store.log(LogOf::Device { id: None, newest: 100 }, brief).await.unwrap();
            let page = log.page(&now).await.unwrap().unwrap();
            assert!(log.is_over() && log.page(&now).await.unwrap().is_none());
            let running = records.iter().find(|record| record.status == Status::Running).unwrap().command_id;
            assert_eq!(*asked.lock().unwrap(), [running]);
            let told: Vec<serde_json::Value> = serde_json::from_str(&format!("[{page}]")).unwrap();
            let running = told.iter().find(|one| one["status"] == "running").unwrap();
            assert_eq!((told.len(), &running["duration_ms"]), (10, &serde_json::json!(77)));
        }
    }

    #[test]
    fn fields_are_those_of_the_records() {
        let record: CommandRecord = serde_json::from_value(serde_json::json!({
            "number": 1, "command_id": CommandId::new(), "session_id": "CLR", "command_definition_id": "dir",
            "raw_command_line": "dir", "params": [], "flags": [], "current_directory": "/", "background_mode": false,
            "analyst": "ann", "shell": null, "created": "2026-01-01T00:00:00Z", "started": null, "completed": null,
            "duration_ms": null, "status": "pending", "place": null, "errors": [], "cancelled_by": null, "last_event": 0,
        }))
        .unwrap();
        let check = |brief: bool, json: String| {
            let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&json).unwrap();
            let names: Vec<&str> = fields(brief).map(|field| field.name).collect();
            assert_eq!(names, object.keys().map(String::as_str).collect::<Vec<_>>());
        };
        check(false, serde_json::to_string(&record).unwrap());
        check(true, serde_json::to_string(&CommandBrief::from(record)).unwrap());
    }

    #[test]
    fn columns_are_told_as_the_records_tell_them() {
        let check = |kind: Kind, column: &str, told: &str| {
            let mut out = String::new();
            kind.tell(column, &mut out).unwrap();
            assert_eq!(out, told, "{column}");
        };
        check(Kind::Plain, r#""a\"b""#, r#""a\"b""#);
        check(Kind::Flag, "0", "false");
        check(Kind::Flag, "1", "true");
        check(Kind::Json, r#""[]""#, "[]");
        check(Kind::Json, r#""[{\"a\":\"x\\ny\"}]""#, r#"[{"a":"x\ny"}]"#);
        check(Kind::Items, "null", "[]");
        check(Kind::Items, r#""{\"a\":1},{\"a\":2}""#, r#"[{"a":1},{"a":2}]"#);
        check(Kind::Time, "null", "null");
        check(Kind::Time, "1500000", r#""1970-01-01T00:00:01.5Z""#);
        assert!(Kind::Time.tell("1e99", &mut String::new()).is_err());
    }
}
