//! The one connection that writes: what it has read of the database stays true. It is in no pool, which would ask it whether
//! it is well before and after each statement, and every question to SQLite's thread costs two changes of thread.

use std::sync::Arc;

use futures_util::TryStreamExt;
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Connection, Either, Executor, Sqlite, SqliteConnection};
use tokio::sync::Mutex;

use super::Result;

/// Clones are the same connection.
#[derive(Debug, Clone)]
pub(super) struct Writer(Arc<Mutex<Option<SqliteConnection>>>);

impl Writer {
    pub(super) fn new(connection: SqliteConnection) -> Self {
        Self(Arc::new(Mutex::new(Some(connection))))
    }

    /// Runs a statement that answers with no rows; how many it has changed.
    pub(super) async fn run(&self, statement: Query<'_, Sqlite, SqliteArguments>) -> Result<u64> {
        let mut connection = self.0.lock().await;
        let connection = connection.as_mut().ok_or(sqlx::Error::PoolClosed)?;
        // It is done with the first answer: that none follows is not waited for.
        match connection.fetch_many(statement).try_next().await? {
            Some(Either::Left(done)) => Ok(done.rows_affected()),
            Some(Either::Right(_)) | None => Ok(0),
        }
    }

    /// Closes it; what is still to be written fails.
    pub(super) async fn close(&self) {
        if let Some(connection) = self.0.lock().await.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "the store was not closed in order");
        }
    }
}
