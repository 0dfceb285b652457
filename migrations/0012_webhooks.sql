-- Who is told of a job's end: the job's own URL, with the key that signs (shown to nobody again).
alter table jobs add column webhook_url text;
alter table jobs add column webhook_secret text;

-- What is to be told, made in the transaction that ends the job, so that none is lost and none is made up.
create table webhook_deliveries (
    -- The receiver sees it as `webhook-id`, the same at each attempt.
    id text not null constraint webhook_deliveries_pk primary key,
    job_id text not null constraint webhook_deliveries_job_fk references jobs (id) on delete cascade,
    -- The job's own URL, or the server's, which its settings alone know.
    target text not null constraint webhook_deliveries_target_known check (target in ('job', 'server')),
    event text not null,
    -- The very bytes that are signed.
    payload text not null constraint webhook_deliveries_payload_is_json check (json_valid(payload)),
    status text not null default 'pending'
        constraint webhook_deliveries_status_known check (status in ('pending', 'delivered', 'failed')),
    attempts integer not null default 0 constraint webhook_deliveries_attempts_not_negative check (attempts >= 0),
    last_attempt_at text,
    -- The status that the receiver last answered with, or why there was none.
    last_status integer,
    last_error text,
    next_attempt_at text,
    created_at text not null,
    constraint webhook_deliveries_next_iff_pending check ((next_attempt_at is not null) = (status = 'pending'))
) strict;

create index webhook_deliveries_by_job on webhook_deliveries (job_id, id);
-- Holds only what waits.
create index webhook_deliveries_due on webhook_deliveries (next_attempt_at) where status = 'pending';
