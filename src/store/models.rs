//! Base models.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::domain::{Model, ModelId, ModelStatus, ModelSummary};

use super::rows::{get_json, get_optional_json, get_parsed, get_u64, int, json, page};
use super::{Page, Store, StoreError};

fn word(status: ModelStatus) -> &'static str {
    match status {
        ModelStatus::Pulling => "pulling",
        ModelStatus::Ready => "ready",
        ModelStatus::Failed => "failed",
    }
}

fn model(row: &SqliteRow) -> Result<Model, sqlx::Error> {
    let status: String = row.try_get("status")?;
    Ok(Model {
        id: get_parsed(row, "id")?,
        name: row.try_get("name")?,
        source: get_json(row, "source")?,
        status: serde_json::from_value(status.into())
            .map_err(|error| sqlx::Error::ColumnDecode { index: "status".into(), source: error.into() })?,
        error: row.try_get("error")?,
        summary: get_optional_json(row, "summary")?,
        size_bytes: get_u64(row, "size_bytes")?,
        created_at: row.try_get("created_at")?,
    })
}

impl Store {
    /// Adds a base model.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where the name is taken, be it by an alias.
    pub async fn insert_model(&self, model: &Model) -> Result<(), StoreError> {
        let inserted = sqlx::query(
            "insert into models (id, name, source, status, error, summary, size_bytes, created_at)
             select ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 where not exists (select 1 from aliases where alias = ?2)",
        )
        .bind(model.id.to_string())
        .bind(&model.name)
        .bind(json(&model.source))
        .bind(word(model.status))
        .bind(&model.error)
        .bind(model.summary.as_ref().map(json))
        .bind(int(model.size_bytes))
        .bind(&model.created_at)
        .execute(&self.pool)
        .await;
        match inserted {
            // Ids are drawn at random, so the name is what a client can have taken twice.
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
                Err(StoreError::conflict(format!("there is a model called `{}` already", model.name)))
            }
            Ok(inserted) if inserted.rows_affected() == 0 => {
                Err(StoreError::conflict(format!("there is an alias called `{}` already", model.name)))
            }
            other => other.map(drop).map_err(StoreError::from),
        }
    }

    /// One base model by id.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none.
    pub async fn get_model(&self, id: ModelId) -> Result<Model, StoreError> {
        let row = sqlx::query("select * from models where id = ?").bind(id.to_string()).fetch_optional(&self.pool);
        let row = row.await?.ok_or_else(|| StoreError::not_found("model", id))?;
        Ok(model(&row)?)
    }

    /// One base model by name.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none.
    pub async fn get_model_by_name(&self, name: &str) -> Result<Model, StoreError> {
        let row = sqlx::query("select * from models where name = ?").bind(name).fetch_optional(&self.pool);
        let row = row.await?.ok_or_else(|| StoreError::not_found("model", name))?;
        Ok(model(&row)?)
    }

    /// Base models, newest first, from after `after` on.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn list_models(&self, after: Option<ModelId>, limit: u32) -> Result<Page<Model>, StoreError> {
        let rows = sqlx::query("select * from models where ?1 is null or id < ?1 order by id desc limit ?2")
            .bind(after.map(|id| id.to_string()))
            .bind(i64::from(limit) + 1)
            .fetch_all(&self.pool)
            .await?;
        let items = rows.iter().map(model).collect::<Result<Vec<_>, _>>()?;
        Ok(page(items, limit, |model| model.id.to_string()))
    }

    /// Sets how much of a model has been fetched.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where it has been deleted meanwhile.
    pub async fn set_model_size(&self, id: ModelId, size_bytes: u64) -> Result<(), StoreError> {
        let updated = sqlx::query("update models set size_bytes = ? where id = ?")
            .bind(int(size_bytes))
            .bind(id.to_string())
            .execute(&self.pool)
            .await?;
        found(updated.rows_affected(), id)
    }

    /// Makes a model ready.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where it has been deleted meanwhile.
    pub async fn set_model_ready(
        &self,
        id: ModelId,
        summary: &ModelSummary,
        size_bytes: u64,
    ) -> Result<(), StoreError> {
        let updated =
            sqlx::query("update models set status = 'ready', error = null, summary = ?, size_bytes = ? where id = ?")
                .bind(json(summary))
                .bind(int(size_bytes))
                .bind(id.to_string())
                .execute(&self.pool)
                .await?;
        found(updated.rows_affected(), id)
    }

    /// Marks a model as failed, with the reason.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where it has been deleted meanwhile.
    pub async fn set_model_failed(&self, id: ModelId, error: &str) -> Result<(), StoreError> {
        let updated = sqlx::query("update models set status = 'failed', error = ? where id = ?")
            .bind(error)
            .bind(id.to_string())
            .execute(&self.pool)
            .await?;
        found(updated.rows_affected(), id)
    }

    /// Puts a failed model back to pulling, to try again.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none, [`StoreError::Conflict`] where it has not failed.
    pub async fn set_model_pulling(&self, id: ModelId) -> Result<(), StoreError> {
        let updated =
            sqlx::query("update models set status = 'pulling', error = null where id = ? and status = 'failed'")
                .bind(id.to_string())
                .execute(&self.pool)
                .await?;
        if updated.rows_affected() == 1 {
            return Ok(());
        }
        let status = word(self.get_model(id).await?.status);
        Err(StoreError::conflict(format!("the model is {status}; only a failed one is pulled again")))
    }

    /// At start: no pull survives a restart, so those left `pulling` become failed. Returns them, so that the caller may
    /// start them again.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn fail_interrupted_pulls(&self) -> Result<Vec<Model>, StoreError> {
        let rows = sqlx::query(
            "update models set status = 'failed', error = 'the server stopped during the pull; pull it again, what was fetched is kept'
             where status = 'pulling' returning *",
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.iter().map(model).collect::<Result<Vec<_>, _>>()?)
    }

    /// Deletes a model's row; files pulled from the Hub are the caller's to delete afterwards.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none, [`StoreError::Conflict`] while it is pulled, an alias means it, or a
    /// queued or running job starts from it.
    pub async fn delete_model(&self, id: ModelId) -> Result<(), StoreError> {
        let deleted = sqlx::query(
            "delete from models where id = ? and status <> 'pulling' and not exists (
                select 1 from jobs where jobs.status in ('queued', 'running', 'paused') and jobs.base_model = models.name)
             and not exists (select 1 from aliases where aliases.job_id is null and aliases.model = models.name)",
        )
        .bind(id.to_string())
        .execute(&self.pool)
        .await?;
        if deleted.rows_affected() == 1 {
            return Ok(());
        }
        let model = self.get_model(id).await?;
        if model.status == ModelStatus::Pulling {
            return Err(StoreError::conflict("the model is being pulled; wait for its end"));
        }
        if let Some(alias) = self.alias_of_base_model(&model.name).await? {
            return Err(StoreError::aliased(&alias));
        }
        Err(StoreError::conflict("a job that has not ended starts from the model; cancel the job or wait for its end"))
    }
}

fn found(rows: u64, id: ModelId) -> Result<(), StoreError> {
    if rows == 1 { Ok(()) } else { Err(StoreError::not_found("model", id)) }
}
