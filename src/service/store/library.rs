//! The library in SQL: which name stands for which content.

use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{Result, Store, int, time, unsigned};
use crate::protocol::LibraryFile;

/// A file of the library as it is stored.
#[derive(Debug, Clone)]
pub(in crate::service) struct StoredFile {
    pub(in crate::service) file: LibraryFile,
    /// Its detached signature, as text.
    pub(in crate::service) signature: Option<String>,
}

impl Store {
    /// Every file, by name.
    pub(in crate::service) async fn library(&self) -> Result<Vec<StoredFile>> {
        let rows = sqlx::query("SELECT * FROM library ORDER BY file_name").fetch_all(&self.pool).await?;
        rows.iter().map(file_of).collect()
    }

    pub(in crate::service) async fn library_file(&self, name: &str) -> Result<Option<StoredFile>> {
        let row = sqlx::query("SELECT * FROM library WHERE file_name = $1").bind(name).fetch_optional(&self.pool).await?;
        row.as_ref().map(file_of).transpose()
    }

    /// Adds a file, or puts it in the place of the one that was last changed `replaces`; `false` when that is not what is
    /// there now.
    pub(in crate::service) async fn put_library_file(&self, stored: &StoredFile, replaces: Option<Timestamp>) -> Result<bool> {
        let statement = match replaces {
            None => {
                "INSERT INTO library \
                 (size, description, created_by, updated, sha256, parameters_description, signature, file_name) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (file_name) DO NOTHING"
            }
            Some(_) => {
                "UPDATE library SET size = $1, description = $2, created_by = $3, updated = $4, sha256 = $5, \
                 parameters_description = $6, signature = $7 WHERE file_name = $8 AND updated = $9"
            }
        };
        let file = &stored.file;
        let query = sqlx::query(statement)
            .bind(int(file.size))
            .bind(&file.description)
            .bind(&file.created_by)
            .bind(file.updated.as_microsecond())
            .bind(&file.sha256)
            .bind(&file.parameters_description)
            .bind(&stored.signature)
            .bind(&file.file_name);
        let query = match replaces {
            None => query,
            Some(replaces) => query.bind(replaces.as_microsecond()),
        };
        Ok(self.writer.run(query).await? == 1)
    }

    /// Removes a file that was last changed then; `false` when that is not what is there now.
    pub(in crate::service) async fn delete_library_file(&self, name: &str, updated: Timestamp) -> Result<bool> {
        let query =
            sqlx::query("DELETE FROM library WHERE file_name = $1 AND updated = $2").bind(name).bind(updated.as_microsecond());
        Ok(self.writer.run(query).await? == 1)
    }

    /// Whether any name stands for this content.
    pub(in crate::service) async fn is_content_used(&self, sha256: &str) -> Result<bool> {
        let row = sqlx::query("SELECT file_name FROM library WHERE sha256 = $1 LIMIT 1")
            .bind(sha256)
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.is_some())
    }
}

fn file_of(row: &SqliteRow) -> Result<StoredFile> {
    let parameters_description: Option<String> = row.try_get("parameters_description")?;
    let signature: Option<String> = row.try_get("signature")?;
    Ok(StoredFile {
        file: LibraryFile {
            file_name: row.try_get("file_name")?,
            size: unsigned(row.try_get("size")?),
            description: row.try_get("description")?,
            created_by: row.try_get("created_by")?,
            updated: time(row.try_get("updated")?)?,
            sha256: row.try_get("sha256")?,
            has_parameters: parameters_description.as_ref().is_some_and(|text| !text.is_empty()),
            parameters_description,
            signed: signature.is_some(),
        },
        signature,
    })
}
