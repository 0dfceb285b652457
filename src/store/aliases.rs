//! Aliases: names that are moved from model to model, and back.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use crate::domain::{Alias, AliasAction, AliasMove, EventRecord, JobEvent, JobId, ModelReference, TrainEvent, utc_now};

use super::events::append;
use super::{Store, StoreError, checkpoints};

/// A move to make.
#[derive(Debug, Clone)]
pub struct MoveAlias<'a> {
    /// The alias.
    pub alias: &'a str,
    /// What it must mean for the move to be made; anything where it is none.
    pub if_model: Option<&'a ModelReference>,
    /// Who asks for it.
    pub by: Option<&'a str>,
}

fn alias(row: &SqliteRow) -> Result<Alias, sqlx::Error> {
    Ok(Alias {
        name: row.try_get("alias")?,
        model: row.try_get("model")?,
        created_at: row.try_get("begun_at")?,
        moved_at: row.try_get("created_at")?,
        moved_by: row.try_get("moved_by")?,
    })
}

impl Store {
    /// One alias.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none.
    pub async fn get_alias(&self, name: &str) -> Result<Alias, StoreError> {
        let row = sqlx::query("select * from aliases where alias = ?").bind(name).fetch_optional(&self.pool).await?;
        let row = row.ok_or_else(|| StoreError::not_found("alias", name))?;
        Ok(alias(&row)?)
    }

    /// All aliases by name.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn list_aliases(&self) -> Result<Vec<Alias>, StoreError> {
        let rows = sqlx::query("select * from aliases order by alias").fetch_all(&self.pool).await?;
        Ok(rows.iter().map(alias).collect::<Result<Vec<_>, _>>()?)
    }

    /// The last moves of an alias, newest first.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn alias_moves(&self, name: &str, limit: u32) -> Result<Vec<AliasMove>, StoreError> {
        let rows = sqlx::query("select * from alias_moves where alias = ? order by id desc limit ?")
            .bind(name)
            .bind(limit)
            .fetch_all(&self.pool)
            .await?;
        let one = |row: &SqliteRow| {
            let action: String = row.try_get("action")?;
            Ok(AliasMove {
                model: row.try_get("model")?,
                action: if action == "set" { AliasAction::Set } else { AliasAction::Rollback },
                moved_at: row.try_get("created_at")?,
                moved_by: row.try_get("moved_by")?,
            })
        };
        Ok(rows.iter().map(one).collect::<Result<Vec<_>, sqlx::Error>>()?)
    }

    /// Has an alias mean a model, and makes it where there is none; true where it was made. A job's best is the
    /// checkpoint that it is at this moment.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is no such model, [`StoreError::Conflict`] where it is not ready or the name
    /// is a base model's, [`StoreError::Changed`] where the alias does not mean what it must.
    pub async fn move_alias(
        &self,
        wanted: &MoveAlias<'_>,
        model: &ModelReference,
    ) -> Result<(Alias, bool), StoreError> {
        let mut transaction = self.begin().await?;
        let row = sqlx::query("select 1 from models where name = ?").bind(wanted.alias);
        if row.fetch_optional(&mut *transaction).await?.is_some() {
            return Err(StoreError::conflict(format!("there is a model called `{}` already", wanted.alias)));
        }
        let pinned = pin(&mut transaction, model).await?;
        let now = current(&mut transaction, wanted).await?;
        let is_new = now.is_none();
        let before = now.map(|now| now.try_get::<i64, _>("id")).transpose()?;
        let moved = insert(&mut transaction, wanted, &pinned, "set", before).await?;
        transaction.commit().await?;
        Ok((moved, is_new))
    }

    /// Has an alias mean what it meant before; several in a row walk back.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is no such alias, [`StoreError::Conflict`] where it meant nothing before or
    /// what it meant is gone, [`StoreError::Changed`] where the alias does not mean what it must.
    pub async fn roll_back_alias(&self, wanted: &MoveAlias<'_>) -> Result<Alias, StoreError> {
        let mut transaction = self.begin().await?;
        let now = current(&mut transaction, wanted).await?;
        let now = now.ok_or_else(|| StoreError::not_found("alias", wanted.alias))?;
        let Some(before) = now.try_get::<Option<i64>, _>("before")? else {
            return Err(StoreError::conflict(format!("the alias `{}` meant nothing before this", wanted.alias)));
        };
        let row = sqlx::query("select model, before from alias_moves where id = ?").bind(before);
        let row = row.fetch_one(&mut *transaction).await?;
        let model: String = row.try_get("model")?;
        let reference = model.parse().map_err(|_| StoreError::conflict(format!("`{model}` is no model's name")))?;
        let pinned = pin(&mut transaction, &reference).await.map_err(|error| match error {
            StoreError::NotFound { .. } => StoreError::conflict(format!("what it meant before is gone: {error}")),
            other => other,
        })?;
        let moved = insert(&mut transaction, wanted, &pinned, "rollback", row.try_get("before")?).await?;
        transaction.commit().await?;
        Ok(moved)
    }

    /// Deletes an alias with its history.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none.
    pub async fn delete_alias(&self, name: &str) -> Result<(), StoreError> {
        let deleted = sqlx::query("delete from alias_moves where alias = ?").bind(name).execute(&self.pool).await?;
        if deleted.rows_affected() == 0 { Err(StoreError::not_found("alias", name)) } else { Ok(()) }
    }

    /// Drops the row of a checkpoint that is about to be deleted, with the event that tells of it; none, and nothing is
    /// dropped, where an alias means the checkpoint or may be rolled back to it.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn release_checkpoint(&self, job_id: JobId, epoch: u32) -> Result<Option<EventRecord>, StoreError> {
        let mut transaction = self.begin().await?;
        let row = sqlx::query("select 1 from alias_moves where job_id = ? and epoch = ?");
        let row = row.bind(job_id.to_string()).bind(epoch).fetch_optional(&mut *transaction).await?;
        if row.is_some() {
            return Ok(None);
        }
        checkpoints::remove(&mut transaction, job_id, epoch).await?;
        let event = JobEvent::Train(TrainEvent::CheckpointRemoved { epoch });
        let record = append(&mut transaction, job_id, &event).await?;
        transaction.commit().await?;
        Ok(Some(record))
    }

    /// An alias that means a base model, if any.
    pub(super) async fn alias_of_base_model(&self, name: &str) -> Result<Option<String>, StoreError> {
        let row = sqlx::query("select alias from aliases where job_id is null and model = ?").bind(name);
        let row = row.fetch_optional(&self.pool).await?;
        Ok(row.map(|row| row.try_get("alias")).transpose()?)
    }

    /// An alias that means a job's checkpoint, if any.
    pub(super) async fn alias_of_job(&self, id: JobId) -> Result<Option<String>, StoreError> {
        let row = sqlx::query("select alias from aliases where job_id = ?").bind(id.to_string());
        let row = row.fetch_optional(&self.pool).await?;
        Ok(row.map(|row| row.try_get("alias")).transpose()?)
    }
}

/// A model whose name always means the same weights.
struct Pinned {
    reference: ModelReference,
    checkpoint: Option<(JobId, u32)>,
}

/// Looks a model up, inside the transaction that names it, so that it is not deleted in between.
async fn pin(connection: &mut SqliteConnection, model: &ModelReference) -> Result<Pinned, StoreError> {
    let checkpoint = |id: JobId, epoch: u32| Pinned {
        reference: ModelReference::JobEpoch(id, epoch),
        checkpoint: Some((id, epoch)),
    };
    match model {
        ModelReference::Base(name) => {
            let row = sqlx::query("select status from models where name = ?").bind(name);
            let row = row.fetch_optional(connection).await?;
            let row = row.ok_or_else(|| StoreError::not_found("model", name))?;
            if row.try_get::<String, _>("status")? != "ready" {
                return Err(StoreError::conflict(format!("the model `{name}` is not ready")));
            }
            Ok(Pinned { reference: model.clone(), checkpoint: None })
        }
        ModelReference::JobBest(id) => {
            let row =
                sqlx::query("select epoch from checkpoints where job_id = ? and is_best = 1").bind(id.to_string());
            let row = row.fetch_optional(connection).await?;
            let row = row.ok_or_else(|| StoreError::not_found("checkpoint", model))?;
            Ok(checkpoint(*id, row.try_get("epoch")?))
        }
        ModelReference::JobEpoch(id, epoch) => {
            let row = sqlx::query("select 1 from checkpoints where job_id = ? and epoch = ?");
            let row = row.bind(id.to_string()).bind(epoch).fetch_optional(connection).await?;
            row.ok_or_else(|| StoreError::not_found("checkpoint", model))?;
            Ok(checkpoint(*id, *epoch))
        }
    }
}

/// The move in force, where it is the one that must be.
async fn current(connection: &mut SqliteConnection, wanted: &MoveAlias<'_>) -> Result<Option<SqliteRow>, StoreError> {
    let row =
        sqlx::query("select * from aliases where alias = ?").bind(wanted.alias).fetch_optional(connection).await?;
    if let Some(must) = wanted.if_model {
        let model: Option<String> = row.as_ref().map(|row| row.try_get("model")).transpose()?;
        if model.as_ref() != Some(&must.to_string()) {
            let means = model.map_or_else(|| "nothing".to_owned(), |model| format!("`{model}`"));
            let message = format!("the alias `{}` means {means}, not `{must}`", wanted.alias);
            return Err(StoreError::Changed { message });
        }
    }
    Ok(row)
}

async fn insert(
    connection: &mut SqliteConnection,
    wanted: &MoveAlias<'_>,
    pinned: &Pinned,
    action: &str,
    before: Option<i64>,
) -> Result<Alias, StoreError> {
    sqlx::query(
        "insert into alias_moves (alias, model, job_id, epoch, action, before, moved_by, created_at)
         values (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(wanted.alias)
    .bind(pinned.reference.to_string())
    .bind(pinned.checkpoint.map(|(id, _)| id.to_string()))
    .bind(pinned.checkpoint.map(|(_, epoch)| epoch))
    .bind(action)
    .bind(before)
    .bind(wanted.by)
    .bind(utc_now())
    .execute(&mut *connection)
    .await?;
    let row = sqlx::query("select * from aliases where alias = ?").bind(wanted.alias).fetch_one(connection).await?;
    Ok(alias(&row)?)
}
