//! A fine-tuning job's events, the newest first.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{MAX_LIMIT, find};
use crate::domain::{EventRecord, JobEvent, JobStatus, ModelReference, TrainEvent, TrainPhase, unix_seconds};
use crate::http::extract::{Path, Query};
use crate::http::openai::{CheckpointName, CursorQuery, EventName, FineTuningJobName, ListBody, unknown_cursor};
use crate::http::openapi::{Invalid, NotFound};
use crate::http::{ApiError, AppState};

const DEFAULT_LIMIT: u32 = 20;

/// An event of a fine-tuning job.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http::routes) struct FineTuningEvent {
    /// Names it.
    id: EventName,
    /// Always `fine_tuning.job.event`.
    #[schema(example = "fine_tuning.job.event")]
    object: &'static str,
    /// When it was told, in seconds since 1970.
    created_at: i64,
    /// How much it matters.
    level: Level,
    /// A sentence for people.
    message: String,
    /// What kind of event it is.
    #[serde(rename = "type")]
    kind: Kind,
    /// The event as `/v1/jobs/{id}/events` has it; of a step, the loss is called `train_loss`, and an evaluation's values
    /// stand beside its epoch and step.
    data: Map<String, Value>,
}

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Level {
    Info,
    Warn,
    Error,
}

/// What kind of event it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// Its data are numbers: a step's or an evaluation's.
    Metrics,
    /// Anything else.
    Message,
}

/// Lists a fine-tuning job's events, the newest first; 20 where `limit` says nothing else, at most 1000.
#[utoipa::path(get, path = "/v1/fine_tuning/jobs/{id}/events", operation_id = "list_fine_tuning_events", tag = "fine-tuning",
    params(("id" = FineTuningJobName, Path, description = "The job."), CursorQuery),
    responses((status = 200, body = ListBody<FineTuningEvent>), (status = 404, response = NotFound),
        (status = 422, response = Invalid)))]
pub(in crate::http::routes) async fn list_events(
    State(state): State<AppState>,
    Path(id): Path<FineTuningJobName>,
    Query(cursor): Query<CursorQuery>,
) -> Result<Json<ListBody<FineTuningEvent>>, ApiError> {
    let (after, limit) = cursor.read::<EventName>(DEFAULT_LIMIT, MAX_LIMIT)?;
    find(&state, id).await?;
    if let Some(after) = after
        && !state.store.has_event(id.0, after.0).await?
    {
        return Err(unknown_cursor(after));
    }
    let mut records = state.store.events_before(id.0, after.map(|event| event.0), limit + 1).await?;
    let has_more = records.len() > limit as usize;
    records.truncate(limit as usize);
    let events = records.into_iter().map(describe).collect::<Result<Vec<_>, _>>()?;
    Ok(Json(ListBody::new(events, has_more, |event| event.id.to_string())))
}

fn describe(record: EventRecord) -> Result<FineTuningEvent, ApiError> {
    let (level, kind) = match &record.event {
        JobEvent::Status { status: JobStatus::Failed, .. } => (Level::Error, Kind::Message),
        JobEvent::Train(TrainEvent::Warning { .. }) => (Level::Warn, Kind::Message),
        JobEvent::Train(TrainEvent::Step { .. } | TrainEvent::Evaluation { .. }) => (Level::Info, Kind::Metrics),
        JobEvent::Status { .. } | JobEvent::Train(_) => (Level::Info, Kind::Message),
    };
    let id = record.id.ok_or_else(|| ApiError::internal("a stored event has no number"))?;
    Ok(FineTuningEvent {
        id: EventName(id),
        object: "fine_tuning.job.event",
        created_at: unix_seconds(&record.created_at).map_err(ApiError::internal)?,
        level,
        message: message(&record),
        kind,
        data: data(&record),
    })
}

fn message(record: &EventRecord) -> String {
    let job = record.job_id;
    match &record.event {
        JobEvent::Status { status, message } => {
            let told = match status {
                JobStatus::Queued => format!("Fine-tuning job {} waits in the queue", FineTuningJobName(job)),
                JobStatus::Running => "Fine-tuning job started".to_owned(),
                JobStatus::Paused => "Fine-tuning job paused".to_owned(),
                JobStatus::Succeeded => {
                    format!("The job has successfully completed; its model is {}", ModelReference::JobBest(job))
                }
                JobStatus::Failed => "The job failed".to_owned(),
                JobStatus::Cancelled => "Fine-tuning job cancelled".to_owned(),
            };
            message.as_ref().map_or(told.clone(), |why| format!("{told}: {why}"))
        }
        JobEvent::Train(event) => match event {
            TrainEvent::Phase { phase, .. } => match phase {
                TrainPhase::Tokenize => "Tokenizing".to_owned(),
                TrainPhase::Baseline => "Evaluating the base model".to_owned(),
                TrainPhase::Train => "Training".to_owned(),
                TrainPhase::Evaluate => "Evaluating".to_owned(),
                TrainPhase::Save => "Writing a checkpoint".to_owned(),
            },
            TrainEvent::Step { step, total_steps, loss, .. } => {
                format!("Step {step}/{total_steps}: training loss={loss:.4}")
            }
            TrainEvent::Progress { step, total_steps } => format!("Step {step}/{total_steps}"),
            TrainEvent::Evaluation { metrics } => {
                let score = metrics.values.get("sequential_score");
                let score = score.map(|score| format!(": sequential_score={score:.4}")).unwrap_or_default();
                format!("Epoch {} evaluated{score}", metrics.epoch)
            }
            TrainEvent::Checkpoint { epoch, step, .. } => {
                let model = ModelReference::JobEpoch(job, *epoch);
                format!("Checkpoint created at step {step}: {model} ({})", CheckpointName(job, *epoch))
            }
            TrainEvent::CheckpointRemoved { epoch } => {
                format!("Checkpoint {} removed, to keep to save_total_limit", CheckpointName(job, *epoch))
            }
            TrainEvent::Warning { message } => message.clone(),
        },
    }
}

fn data(record: &EventRecord) -> Map<String, Value> {
    let Ok(Value::Object(mut data)) = serde_json::to_value(&record.event) else { return Map::new() };
    match &record.event {
        JobEvent::Train(TrainEvent::Step { .. }) => {
            data.remove("type");
            if let Some(loss) = data.remove("loss") {
                data.insert("train_loss".to_owned(), loss);
            }
        }
        JobEvent::Train(TrainEvent::Evaluation { metrics }) => {
            data =
                Map::from_iter([("epoch".to_owned(), metrics.epoch.into()), ("step".to_owned(), metrics.step.into())]);
            data.extend(metrics.values.iter().map(|(key, value)| (key.clone(), (*value).into())));
        }
        _ => {}
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{EvaluationMetrics, JobId, utc_now};

    #[test]
    fn every_event_has_a_sentence_and_its_numbers() {
        let job_id = JobId::generate();
        let describe = |event| {
            let record = EventRecord { id: Some(7), job_id, created_at: utc_now(), event };
            super::describe(record).expect("it is sound")
        };
        let metrics = EvaluationMetrics { epoch: 1, step: 9, values: [("sequential_score".into(), 0.5)].into() };
        let evaluation = describe(JobEvent::Train(TrainEvent::Evaluation { metrics }));
        assert_eq!(
            (evaluation.kind, evaluation.message.as_str()),
            (Kind::Metrics, "Epoch 1 evaluated: sequential_score=0.5000")
        );
        assert_eq!(Value::Object(evaluation.data), serde_json::json!({"epoch": 1, "step": 9, "sequential_score": 0.5}));
        let failed = JobEvent::Status { status: JobStatus::Failed, message: Some("no luck".into()) };
        let failed = describe(failed);
        assert_eq!((failed.level, failed.message.as_str()), (Level::Error, "The job failed: no luck"));
        let checkpoint = describe(JobEvent::Train(TrainEvent::CheckpointRemoved { epoch: 2 }));
        assert!(checkpoint.message.contains(&CheckpointName(job_id, 2).to_string()), "{}", checkpoint.message);
    }
}
