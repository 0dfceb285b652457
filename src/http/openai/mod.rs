//! What the routes of OpenAI's files and fine-tuning share: ids of their shape, and lists with their cursors.

mod ids;
mod list;

pub(super) use ids::{CheckpointName, EventName, FileName, FineTuningJobName};
pub(super) use list::{CursorQuery, ListBody, unknown_cursor};
