//! A job's events: live as server-sent events, or what is stored of them as a page of JSON.

use std::convert::Infallible;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::domain::{EventRecord, JobId};
use crate::http::accept::negotiate;
use crate::http::extract::{Path, Query};
use crate::http::openapi::{Invalid, NotAcceptable, NotFound};
use crate::http::{ApiError, AppState};
use crate::worker::EventFeed;

const EVENT_STREAM: &str = "text/event-stream";
const JSON: &str = "application/json";
const DEFAULT_LIMIT: u32 = 500;
const MAX_LIMIT: u32 = 1000;

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct EventsQuery {
    /// Only events after the one of this id; the header `Last-Event-ID` says the same and outweighs it.
    #[param(minimum = 0)]
    last_event_id: Option<u64>,
    /// Events on a page of JSON.
    #[param(minimum = 1, maximum = 1000, default = 500)]
    limit: Option<u32>,
}

/// One page of stored events.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EventsPage {
    /// The events, oldest first.
    data: Vec<EventRecord>,
    /// The `last_event_id` to ask for the next page with; none on the last.
    next_cursor: Option<u64>,
}

/// Tells what a job does: status, phases, steps with loss, learning rate, gradient norm, throughput and time left,
/// evaluations, checkpoints, warnings. As `text/event-stream` it first replays what is stored after `Last-Event-ID` and goes
/// on live until the job has ended; as `application/json` it is one page of what is stored.
#[utoipa::path(get, path = "/v1/jobs/{id}/events", tag = "jobs",
    params(
        ("id" = JobId, Path, description = "The job."),
        ("last-event-id" = Option<u64>, Header, description = "Only events after the one of this id."),
        EventsQuery,
    ),
    responses(
        (status = 200, content((String = "text/event-stream"), (EventsPage = "application/json")),
            description = "Of the stream, the data of each event is an `EventRecord`."),
        (status = 404, response = NotFound), (status = 406, response = NotAcceptable), (status = 422, response = Invalid)))]
pub(super) async fn get_events(
    State(state): State<AppState>,
    Path(id): Path<JobId>,
    Query(query): Query<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let after = last_event_id(&headers)?.or(query.last_event_id);
    if negotiate(&headers, &[EVENT_STREAM, JSON])? == JSON {
        return Ok(Json(stored(&state, id, after.unwrap_or(0), query.limit).await?).into_response());
    }
    let feed = state.worker.follow(id, after).await?;
    let events = Sse::new(stream(id, feed)).keep_alive(KeepAlive::default());
    // nginx would otherwise hold events back until its buffer is full.
    Ok(([("x-accel-buffering", "no")], events).into_response())
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    match headers.get("last-event-id").map(|value| value.to_str().unwrap_or("\u{fffd}").trim()) {
        // An empty one says that there was none.
        None | Some("") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| {
            ApiError::invalid_field("last-event-id", "the id of an event is expected, a number from 0 on")
        }),
    }
}

async fn stored(state: &AppState, id: JobId, after: u64, limit: Option<u32>) -> Result<EventsPage, ApiError> {
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(ApiError::invalid_field("limit", format!("{limit} is not from 1 to {MAX_LIMIT}")));
    }
    state.store.get_job(id).await?;
    let mut data = state.store.events_after(id, after, limit + 1).await?;
    let more = data.len() > limit as usize;
    data.truncate(limit as usize);
    let next_cursor = if more { data.last().and_then(|record| record.id) } else { None };
    Ok(EventsPage { data, next_cursor })
}

/// Ends with the job, or early where the store fails: the client then comes again with its `Last-Event-ID`.
fn stream(job_id: JobId, mut feed: EventFeed) -> impl Stream<Item = Result<Event, Infallible>> {
    async_stream::stream! {
        loop {
            match feed.next().await {
                Ok(Some(record)) => yield Ok(sse(&record)),
                Ok(None) => break,
                Err(error) => {
                    tracing::error!(%job_id, %error, "events cannot be read; the stream ends");
                    break;
                }
            }
        }
    }
}

fn sse(record: &EventRecord) -> Event {
    let event = Event::default().event(record.event.type_name());
    let event = event.json_data(record).expect("events have string keys and are of one line");
    match record.id {
        Some(id) => event.id(id.to_string()),
        None => event,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn the_last_event_id_is_a_number_or_nothing() {
        let read = |text: &'static str| {
            let value = HeaderValue::from_static(text);
            last_event_id(&HeaderMap::from_iter([(HeaderName::from_static("last-event-id"), value)]))
        };
        assert_eq!(read("17").ok(), Some(Some(17)));
        assert_eq!(read("").ok(), Some(None));
        for text in ["-1", "1.5", "abc", "99999999999999999999"] {
            assert!(read(text).is_err(), "{text}");
        }
        assert_eq!(last_event_id(&HeaderMap::new()).ok(), Some(None));
    }
}
