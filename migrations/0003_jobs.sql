-- Jobs: the queue and its history in one table.
create table jobs (
    id text not null constraint jobs_pk primary key,
    name text,
    status text not null
        constraint jobs_status_known check (status in ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    cancel_requested integer not null default 0 constraint jobs_cancel_requested_is_bool check (cancel_requested in (0, 1)),
    -- No foreign keys to datasets and models: a job that ended outlives both, and still tells what it was made from.
    -- Statements of `store` see to it that they exist when a job is queued and stay while it is queued or running.
    dataset_id text not null,
    eval_dataset_id text,
    base_model text not null,
    training text not null constraint jobs_training_is_json check (json_valid(training)),
    step integer not null default 0 constraint jobs_step_not_negative check (step >= 0),
    total_steps integer constraint jobs_total_steps_not_negative check (total_steps >= 0),
    error_code text,
    error_message text,
    warnings text not null default '[]' constraint jobs_warnings_is_json check (json_valid(warnings)),
    timings text constraint jobs_timings_is_json check (json_valid(timings)),
    peak_memory_bytes integer constraint jobs_peak_memory_not_negative check (peak_memory_bytes >= 0),
    -- How often the process died under this job since it last wrote a checkpoint: a job that is too large for the
    -- machine's memory would otherwise take the server down for ever.
    crashes integer not null default 0 constraint jobs_crashes_not_negative check (crashes >= 0),
    created_at text not null,
    -- Its place in the queue. A resumed job queues at the end; one that a restart interrupted keeps its place.
    queued_at text not null,
    started_at text,
    finished_at text,
    constraint jobs_error_iff_failed check (
        (error_code is not null) = (status = 'failed') and (error_message is not null) = (status = 'failed')
    ),
    constraint jobs_finished_iff_final check (
        (finished_at is not null) = (status in ('succeeded', 'failed', 'cancelled'))
    ),
    -- What waits or has ended has nothing left to cancel.
    constraint jobs_cancel_requested_only_running check (cancel_requested = 0 or status = 'running')
) strict;

-- The claim's order; holds only what waits, so it stays small however long the history grows.
create index jobs_queue on jobs (queued_at, id) where status = 'queued';
-- Lists filtered by status, newest first.
create index jobs_by_status on jobs (status, id);

-- What a run told, for replay after `Last-Event-ID`.
create table job_events (
    -- One sequence over all jobs. `autoincrement` never gives an id twice, not even after its row was deleted, so a
    -- client's Last-Event-ID stays valid when the events of a crashed attempt are taken back.
    id integer not null constraint job_events_pk primary key autoincrement,
    job_id text not null constraint job_events_job_fk references jobs (id) on delete cascade,
    -- The event's own `type`, so that deleting by type need not parse JSON.
    type text not null,
    event text not null constraint job_events_event_is_json check (json_valid(event)),
    created_at text not null
) strict;

create index job_events_by_job on job_events (job_id, id);
