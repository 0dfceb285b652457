//! Datasets.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::domain::{Dataset, DatasetId};

use super::rows::{get_json, get_parsed, get_u64, int, json, page};
use super::{ListOrder, Page, Store, StoreError};

fn dataset(row: &SqliteRow) -> Result<Dataset, sqlx::Error> {
    // The format is a word, which is what serde makes of it too; as JSON it only lacks its quotes.
    let format: String = row.try_get("format")?;
    Ok(Dataset {
        id: get_parsed(row, "id")?,
        name: row.try_get("name")?,
        format: serde_json::from_value(format.into())
            .map_err(|error| sqlx::Error::ColumnDecode { index: "format".into(), source: error.into() })?,
        mapping: get_json(row, "mapping")?,
        ignored_columns: get_json(row, "ignored_columns")?,
        split: get_json(row, "split")?,
        train_rows: get_u64(row, "train_rows")?,
        eval_rows: get_u64(row, "eval_rows")?,
        duplicate_rows: get_u64(row, "duplicate_rows")?,
        duplicate_positives: get_u64(row, "duplicate_positives")?,
        empty_rows: get_u64(row, "empty_rows")?,
        sha256: row.try_get("sha256")?,
        eval_sha256: row.try_get("eval_sha256")?,
        size_bytes: get_u64(row, "size_bytes")?,
        original_bytes: row.try_get::<Option<i64>, _>("original_bytes")?.map(i64::cast_unsigned),
        created_at: row.try_get("created_at")?,
    })
}

impl Store {
    /// Adds a dataset whose files are complete on disk.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where the id is taken.
    pub async fn insert_dataset(&self, dataset: &Dataset) -> Result<(), StoreError> {
        let inserted = sqlx::query(
            "insert into datasets (id, name, format, mapping, ignored_columns, split, train_rows, eval_rows,
                duplicate_rows, duplicate_positives, empty_rows, sha256, eval_sha256, size_bytes, original_bytes, created_at)
             values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(dataset.id.to_string())
        .bind(&dataset.name)
        .bind(json(&dataset.format).trim_matches('"').to_owned())
        .bind(json(&dataset.mapping))
        .bind(json(&dataset.ignored_columns))
        .bind(json(&dataset.split))
        .bind(int(dataset.train_rows))
        .bind(int(dataset.eval_rows))
        .bind(int(dataset.duplicate_rows))
        .bind(int(dataset.duplicate_positives))
        .bind(int(dataset.empty_rows))
        .bind(&dataset.sha256)
        .bind(&dataset.eval_sha256)
        .bind(int(dataset.size_bytes))
        .bind(dataset.original_bytes.map(int))
        .bind(&dataset.created_at)
        .execute(&self.pool)
        .await;
        match inserted {
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
                Err(StoreError::conflict(format!("there is a dataset `{}` already", dataset.id)))
            }
            other => other.map(drop).map_err(StoreError::from),
        }
    }

    /// One dataset.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none.
    pub async fn get_dataset(&self, id: DatasetId) -> Result<Dataset, StoreError> {
        let row = sqlx::query("select * from datasets where id = ?").bind(id.to_string()).fetch_optional(&self.pool);
        let row = row.await?.ok_or_else(|| StoreError::not_found("dataset", id))?;
        Ok(dataset(&row)?)
    }

    /// Datasets from after `after` on.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn list_datasets(
        &self,
        order: ListOrder,
        after: Option<DatasetId>,
        limit: u32,
    ) -> Result<Page<Dataset>, StoreError> {
        let query = match order {
            ListOrder::NewestFirst => "select * from datasets where ?1 is null or id < ?1 order by id desc limit ?2",
            ListOrder::OldestFirst => "select * from datasets where ?1 is null or id > ?1 order by id limit ?2",
        };
        let rows = sqlx::query(query)
            .bind(after.map(|id| id.to_string()))
            .bind(i64::from(limit) + 1)
            .fetch_all(&self.pool)
            .await?;
        let items = rows.iter().map(dataset).collect::<Result<Vec<_>, _>>()?;
        Ok(page(items, limit, |dataset| dataset.id.to_string()))
    }

    /// Deletes a dataset's row; its files are the caller's to delete afterwards. Jobs that ended keep its id.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none, [`StoreError::Conflict`] while a job that has not ended uses it.
    pub async fn delete_dataset(&self, id: DatasetId) -> Result<(), StoreError> {
        // One statement, so that no job can be queued between the check and the deletion.
        let deleted = sqlx::query(
            "delete from datasets where id = ?1 and not exists (
                select 1 from jobs where status in ('queued', 'running', 'paused') and (dataset_id = ?1 or eval_dataset_id = ?1))",
        )
        .bind(id.to_string())
        .execute(&self.pool)
        .await?;
        if deleted.rows_affected() == 1 {
            return Ok(());
        }
        self.get_dataset(id).await?;
        Err(StoreError::conflict("a job that has not ended uses the dataset; cancel the job or wait for its end"))
    }
}
