-- Jobs can be paused, and carry their owner's metadata. SQLite cannot change a check of a table, so the table is made anew.
-- Migrations run with foreign keys off (see `store/mod.rs`): dropping the old table leaves the rows that refer to it.
create table jobs_with_pause (
    id text not null constraint jobs_pk primary key,
    name text,
    status text not null
        constraint jobs_status_known check (status in ('queued', 'running', 'paused', 'succeeded', 'failed', 'cancelled')),
    cancel_requested integer not null default 0 constraint jobs_cancel_requested_is_bool check (cancel_requested in (0, 1)),
    pause_requested integer not null default 0 constraint jobs_pause_requested_is_bool check (pause_requested in (0, 1)),
    metadata text constraint jobs_metadata_is_json check (json_valid(metadata)),
    -- No foreign keys to datasets and models: a job that ended outlives both, and still tells what it was made from.
    -- Statements of `store` see to it that they exist when a job is queued and stay until it has ended.
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
    profile text constraint jobs_profile_is_json check (json_valid(profile)),
    peak_memory_bytes integer constraint jobs_peak_memory_not_negative check (peak_memory_bytes >= 0),
    -- How often the process died under this job since it last wrote a checkpoint: a job that is too large for the
    -- machine's memory would otherwise take the server down for ever.
    crashes integer not null default 0 constraint jobs_crashes_not_negative check (crashes >= 0),
    created_at text not null,
    started_at text,
    finished_at text,
    -- Its place in the queue as a number. A resumed job queues at the end; one that a restart interrupted keeps its place.
    queue_position integer not null,
    constraint jobs_error_iff_failed check (
        (error_code is not null) = (status = 'failed') and (error_message is not null) = (status = 'failed')
    ),
    constraint jobs_finished_iff_final check (
        (finished_at is not null) = (status in ('succeeded', 'failed', 'cancelled'))
    ),
    -- Only a run has something to stop.
    constraint jobs_cancel_requested_only_running check (cancel_requested = 0 or status = 'running'),
    constraint jobs_pause_requested_only_running check (pause_requested = 0 or status = 'running')
) strict;

insert into jobs_with_pause (
    id, name, status, cancel_requested, dataset_id, eval_dataset_id, base_model, training, step, total_steps, error_code,
    error_message, warnings, timings, profile, peak_memory_bytes, crashes, created_at, started_at, finished_at, queue_position
)
select
    id, name, status, cancel_requested, dataset_id, eval_dataset_id, base_model, training, step, total_steps, error_code,
    error_message, warnings, timings, profile, peak_memory_bytes, crashes, created_at, started_at, finished_at, queue_position
from jobs;
drop table jobs;
alter table jobs_with_pause rename to jobs;

-- The claim's order; holds only what waits, so it stays small however long the history grows.
create index jobs_queue on jobs (queue_position) where status = 'queued';
-- Where the queue ends.
create unique index jobs_queue_position on jobs (queue_position);
-- Lists filtered by status, newest first.
create index jobs_by_status on jobs (status, id);
