//! Facts in SQL: sessions, commands, settings, the library. The only place that knows SQL.
//!
//! SQLite in the embedded default; statements keep to what PostgreSQL has too. What is committed survives kill -9.

mod effects;
mod library;
mod log;
mod trouble;
mod writer;

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous};
use sqlx::{Connection, Row, SqlSafeStr, SqliteConnection, SqlitePool};

use self::writer::Writer;
use crate::protocol::{CommandId, CommandRecord, Device, Problem, SessionId, Settings, Status};

pub(super) use library::StoredFile;
pub(super) use log::LogOf;
pub use trouble::Trouble;

/// A session as it is stored.
#[derive(Debug, Clone)]
pub(super) struct StoredSession {
    pub(super) session_id: SessionId,
    pub(super) device: Device,
    pub(super) analyst: String,
    pub(super) comment: Option<String>,
    pub(super) started: Timestamp,
    pub(super) ended: Option<Timestamp>,
    pub(super) closed_by: Option<String>,
    pub(super) last_command: u64,
    pub(super) last_activity: Timestamp,
}

/// The database.
#[derive(Debug, Clone)]
pub(super) struct Store {
    writer: Writer,
    pool: SqlitePool,
}

type Result<T> = std::result::Result<T, sqlx::Error>;

impl Store {
    /// Opens the database, making it where there is none.
    pub(super) async fn open(file: &Path) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(Duration::from_secs(5))
            .foreign_keys(true);
        // A file's connections neither age nor idle away. That also keeps sqlx from looking after them: its task counts idle
        // ones without a lock, and a count that a race takes below zero has it turn round for ever.
        let one = SqlitePoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None).test_before_acquire(false);
        let mut writer = SqliteConnection::connect_with(&options).await?;
        let migrations = vec![
            migration(1, "begin", include_str!("migrations/1_begin.sql")),
            migration(2, "library", include_str!("migrations/2_library.sql")),
            migration(3, "log", include_str!("migrations/3_log.sql")),
            migration(4, "effects", include_str!("migrations/4_effects.sql")),
            migration(5, "log order", include_str!("migrations/5_log_order.sql")),
            migration(6, "continued", include_str!("migrations/6_continued.sql")),
        ];
        Migrator::with_migrations(migrations).run(&mut writer).await?;
        Ok(Self { writer: Writer::new(writer), pool: one.connect_lazy_with(options) })
    }

    pub(super) async fn add_session(&self, session: &StoredSession) -> Result<()> {
        let query = sqlx::query(
            "INSERT INTO sessions (session_id, device, device_id, analyst, comment, started) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(session.session_id.as_str())
        .bind(json(&session.device))
        .bind(&session.device.id)
        .bind(&session.analyst)
        .bind(&session.comment)
        .bind(session.started.as_microsecond());
        self.writer.run(query).await?;
        Ok(())
    }

    pub(super) async fn end_session(&self, session: &SessionId, at: Timestamp, by: &str) -> Result<()> {
        let query = sqlx::query("UPDATE sessions SET ended = $1, closed_by = $2 WHERE session_id = $3 AND ended IS NULL")
            .bind(at.as_microsecond())
            .bind(by)
            .bind(session.as_str());
        self.writer.run(query).await?;
        Ok(())
    }

    /// Sessions, the newest first: all, or those that have not ended.
    pub(super) async fn sessions(&self, open: bool) -> Result<Vec<StoredSession>> {
        let only = if open { "WHERE ended IS NULL" } else { "" };
        let sql = format!("{SELECT_SESSION} {only} ORDER BY started DESC LIMIT 1000");
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&self.pool).await?;
        rows.iter().map(session_of).collect()
    }

    pub(super) async fn session(&self, session: &SessionId) -> Result<Option<StoredSession>> {
        let sql = format!("{SELECT_SESSION} WHERE session_id = $1");
        let row = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(session.as_str()).fetch_optional(&self.pool).await?;
        row.as_ref().map(session_of).transpose()
    }

    /// Adds a command; `false` when its id is there.
    pub(super) async fn add_command(&self, command: &CommandRecord) -> Result<bool> {
        let query = sqlx::query(
            "INSERT INTO commands (command_id, session_id, number, definition, line, params, flags, current_directory, background, \
             analyst, shell, created, status, errors, last_event) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 0) \
             ON CONFLICT (command_id) DO NOTHING",
        )
        .bind(command.command_id.to_string())
        .bind(&command.session_id)
        .bind(int(command.number))
        .bind(&command.command_definition_id)
        .bind(&command.raw_command_line)
        .bind(json(&command.params))
        .bind(json(&command.flags))
        .bind(&command.current_directory)
        .bind(i64::from(command.background_mode))
        .bind(&command.analyst)
        .bind(&command.shell)
        .bind(command.created.as_microsecond())
        .bind(command.status.as_str())
        .bind(json(&command.errors));
        Ok(self.writer.run(query).await? == 1)
    }

    /// Writes how a command stands.
    pub(super) async fn update_command(&self, command: &CommandRecord) -> Result<()> {
        let query = sqlx::query(
            "UPDATE commands SET started = $1, completed = $2, duration_ms = $3, status = $4, errors = $5, cancelled_by = $6, \
             last_event = $7 WHERE command_id = $8",
        )
        .bind(command.started.map(Timestamp::as_microsecond))
        .bind(command.completed.map(Timestamp::as_microsecond))
        .bind(command.duration_ms.map(int))
        .bind(command.status.as_str())
        .bind(json(&command.errors))
        .bind(&command.cancelled_by)
        .bind(int(command.last_event))
        .bind(command.command_id.to_string());
        self.writer.run(query).await?;
        Ok(())
    }

    /// Writes which command goes on with another's work.
    pub(super) async fn continue_command(&self, before: CommandId, number: u64) -> Result<()> {
        let query = sqlx::query("UPDATE commands SET continued_by = $1 WHERE command_id = $2")
            .bind(int(number))
            .bind(before.to_string());
        self.writer.run(query).await?;
        Ok(())
    }

    /// The commands whose id starts so: two at most, which is one too many.
    pub(super) async fn commands_from(&self, start: &str) -> Result<Vec<CommandRecord>> {
        // Ids are hexadecimal digits and dashes: `g` is behind all that start so.
        let rows = sqlx::query("SELECT * FROM commands WHERE command_id >= $1 AND command_id < $2 LIMIT 2")
            .bind(start)
            .bind(format!("{start}g"))
            .fetch_all(&self.pool)
            .await?;
        self.all_of(&rows).await
    }

    /// The commands of a session that a number means, else the first two whose id begins so: enough to tell one from several.
    /// The log may hold thousands; it is not read for one.
    pub(super) async fn named(&self, session: &SessionId, which: &str) -> Result<Vec<CommandRecord>> {
        if let Ok(number) = which.parse::<u64>() {
            let rows = sqlx::query("SELECT * FROM commands WHERE session_id = $1 AND number = $2")
                .bind(session.as_str())
                .bind(int(number))
                .fetch_all(&self.pool)
                .await?;
            // Nothing has the number 0, and every id begins with it.
            if !rows.is_empty() || number == 0 {
                return self.all_of(&rows).await;
            }
        }
        let start = which.to_ascii_lowercase();
        if start.is_empty() || !start.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-') {
            return Ok(Vec::new());
        }
        // As in `commands_from`.
        let rows = sqlx::query(
            "SELECT * FROM commands WHERE session_id = $1 AND command_id >= $2 AND command_id < $3 ORDER BY command_id LIMIT 2",
        )
        .bind(session.as_str())
        .bind(&start)
        .bind(format!("{start}g"))
        .fetch_all(&self.pool)
        .await?;
        self.all_of(&rows).await
    }

    /// The commands that had not ended when the service did.
    pub(super) async fn unfinished(&self) -> Result<Vec<CommandRecord>> {
        let rows = sqlx::query("SELECT * FROM commands WHERE status IN ('pending', 'running') ORDER BY created")
            .fetch_all(&self.pool)
            .await?;
        self.all_of(&rows).await
    }

    pub(super) async fn command(&self, id: CommandId) -> Result<Option<CommandRecord>> {
        let row =
            sqlx::query("SELECT * FROM commands WHERE command_id = $1").bind(id.to_string()).fetch_optional(&self.pool).await?;
        Ok(self.all_of(row.as_slice()).await?.pop())
    }

    async fn all_of(&self, rows: &[SqliteRow]) -> Result<Vec<CommandRecord>> {
        let records = rows.iter().map(command_of).collect::<Result<_>>()?;
        self.with_effects(records).await
    }

    pub(super) async fn settings(&self) -> Result<Settings> {
        let rows = sqlx::query("SELECT name, value FROM settings").fetch_all(&self.pool).await?;
        let mut settings = Settings::default();
        for row in rows {
            let value = row.try_get::<i64, _>("value")? != 0;
            match row.try_get::<String, _>("name")?.as_str() {
                "live_response" => settings.live_response = value,
                "live_response_servers" => settings.live_response_servers = value,
                "unsigned_scripts" => settings.unsigned_scripts = value,
                _ => {}
            }
        }
        Ok(settings)
    }

    pub(super) async fn set(&self, name: &str, value: bool) -> Result<()> {
        let query = sqlx::query(
            "INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )
        .bind(name)
        .bind(i64::from(value));
        self.writer.run(query).await?;
        Ok(())
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
        self.writer.close().await;
    }
}

fn migration(version: i64, name: &'static str, sql: &'static str) -> Migration {
    Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
}

const SELECT_SESSION: &str = "SELECT sessions.*, \
     (SELECT MAX(number) FROM commands WHERE commands.session_id = sessions.session_id) AS last_command, \
     (SELECT MAX(COALESCE(completed, created)) FROM commands WHERE commands.session_id = sessions.session_id) AS last_activity \
     FROM sessions";

fn session_of(row: &SqliteRow) -> Result<StoredSession> {
    let started = time(row.try_get("started")?)?;
    let last_activity: Option<i64> = row.try_get("last_activity")?;
    Ok(StoredSession {
        session_id: row.try_get::<String, _>("session_id")?.parse().map_err(decode)?,
        device: from_json(row, "device")?,
        analyst: row.try_get("analyst")?,
        comment: row.try_get("comment")?,
        started,
        ended: row.try_get::<Option<i64>, _>("ended")?.map(time).transpose()?,
        closed_by: row.try_get("closed_by")?,
        last_command: row.try_get::<Option<i64>, _>("last_command")?.map_or(0, unsigned),
        last_activity: last_activity.map(time).transpose()?.unwrap_or(started),
    })
}

fn command_of(row: &SqliteRow) -> Result<CommandRecord> {
    Ok(CommandRecord {
        number: unsigned(row.try_get("number")?),
        command_id: row.try_get::<String, _>("command_id")?.parse().map_err(decode)?,
        session_id: row.try_get("session_id")?,
        command_definition_id: row.try_get("definition")?,
        raw_command_line: row.try_get("line")?,
        params: from_json(row, "params")?,
        flags: from_json(row, "flags")?,
        current_directory: row.try_get("current_directory")?,
        background_mode: row.try_get::<i64, _>("background")? != 0,
        analyst: row.try_get("analyst")?,
        shell: row.try_get("shell")?,
        created: time(row.try_get("created")?)?,
        started: row.try_get::<Option<i64>, _>("started")?.map(time).transpose()?,
        completed: row.try_get::<Option<i64>, _>("completed")?.map(time).transpose()?,
        duration_ms: row.try_get::<Option<i64>, _>("duration_ms")?.map(unsigned),
        status: row.try_get::<String, _>("status")?.parse::<Status>().map_err(|error| sqlx::Error::Decode(error.into()))?,
        place: None,
        errors: from_json::<Vec<Problem>>(row, "errors")?,
        cancelled_by: row.try_get("cancelled_by")?,
        effects: Vec::new(),
        last_event: unsigned(row.try_get("last_event")?),
        continued_by: row.try_get::<Option<i64>, _>("continued_by")?.map(unsigned),
    })
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}

fn from_json<T: serde::de::DeserializeOwned>(row: &SqliteRow, column: &str) -> Result<T> {
    serde_json::from_str(&row.try_get::<String, _>(column)?).map_err(decode)
}

fn decode(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}

fn time(micros: i64) -> Result<Timestamp> {
    Timestamp::from_microsecond(micros).map_err(decode)
}

fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
