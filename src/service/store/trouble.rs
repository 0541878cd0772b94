//! What the database's errors mean for people.

use sqlx::migrate::MigrateError;

/// Why the store fails, as far as somebody can do something about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The file is no database, or a damaged one.
    Damaged,
    /// A later version has written it.
    Newer,
    /// The disk has no room.
    Full,
    /// The file or its folder may not be written.
    ReadOnly,
    /// Anything else.
    Other,
}

impl Trouble {
    /// What an error means.
    pub(in crate::service) fn of(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Migrate(error) => match error.as_ref() {
                MigrateError::VersionMissing(_) => Self::Newer,
                MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => Self::of(error),
                _ => Self::Other,
            },
            sqlx::Error::Database(error) => {
                // The primary code is the low byte of the extended one: https://sqlite.org/rescode.html
                match error.code().and_then(|code| code.parse::<u32>().ok()).map(|code| code & 0xff) {
                    Some(11 | 26) => Self::Damaged,
                    Some(13) => Self::Full,
                    Some(8 | 14) => Self::ReadOnly,
                    _ => Self::Other,
                }
            }
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Store;
    use super::*;

    #[tokio::test]
    async fn what_can_be_done_is_told_from_the_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("store.db");
        let store = Store::open(&file).await.unwrap();
        let later = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                     VALUES (99, 'later', 1, x'00', 0)";
        store.writer.run(sqlx::query(later)).await.unwrap();
        store.close().await;
        assert_eq!(Trouble::of(&Store::open(&file).await.unwrap_err()), Trouble::Newer);
        std::fs::write(&file, "no database").unwrap();
        assert_eq!(Trouble::of(&Store::open(&file).await.unwrap_err()), Trouble::Damaged);
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        assert_eq!(Trouble::of(&Store::open(&file).await.unwrap_err()), Trouble::ReadOnly);
    }
}
