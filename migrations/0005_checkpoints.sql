-- Checkpoints on disk. The folder comes first and the row after it, so a row never points at something half written.
create table checkpoints (
    job_id text not null constraint checkpoints_job_fk references jobs (id) on delete cascade,
    epoch integer not null constraint checkpoints_epoch_positive check (epoch > 0),
    step integer not null constraint checkpoints_step_not_negative check (step >= 0),
    -- Relative to the data directory, so that the directory can be moved.
    path text not null,
    size_bytes integer not null constraint checkpoints_size_not_negative check (size_bytes >= 0),
    sha256 text not null constraint checkpoints_sha256_is_hex check (length(sha256) = 64),
    metric real not null,
    is_best integer not null constraint checkpoints_is_best_is_bool check (is_best in (0, 1)),
    created_at text not null,
    constraint checkpoints_pk primary key (job_id, epoch)
) strict;

create unique index checkpoints_one_best on checkpoints (job_id) where is_best = 1;
