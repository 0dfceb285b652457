//! Token-length histograms, kept because counting takes seconds. The store does not know their shape.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::domain::{DatasetId, ModelId};

use super::rows::{get_json, json};
use super::{Store, StoreError};

impl Store {
    /// The kept histogram of a dataset under a model's tokenizer; none where none is kept.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn get_token_lengths<T: DeserializeOwned>(
        &self,
        dataset: DatasetId,
        model: ModelId,
    ) -> Result<Option<T>, StoreError> {
        let row = sqlx::query("select histogram from token_lengths where dataset_id = ? and model_id = ?")
            .bind(dataset.to_string())
            .bind(model.to_string())
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.map(|row| get_json(&row, "histogram")).transpose()?)
    }

    /// Keeps a histogram, in place of an older one.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where the dataset or the model has been deleted meanwhile.
    pub async fn put_token_lengths<T: Serialize>(
        &self,
        dataset: DatasetId,
        model: ModelId,
        histogram: &T,
    ) -> Result<(), StoreError> {
        let put = sqlx::query(
            "insert into token_lengths (dataset_id, model_id, histogram) values (?, ?, ?)
             on conflict do update set histogram = excluded.histogram",
        )
        .bind(dataset.to_string())
        .bind(model.to_string())
        .bind(json(histogram))
        .execute(&self.pool)
        .await;
        match put {
            Err(sqlx::Error::Database(error)) if error.is_foreign_key_violation() => {
                Err(StoreError::conflict("the dataset or the model has been deleted meanwhile"))
            }
            other => other.map(drop).map_err(StoreError::from),
        }
    }
}
