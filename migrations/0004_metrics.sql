-- Evaluations, one row a value: comparing epochs and dimensions is then a matter of SQL, and a new metric needs no migration.
create table metrics (
    job_id text not null constraint metrics_job_fk references jobs (id) on delete cascade,
    -- 0 is the baseline before training.
    epoch integer not null constraint metrics_epoch_not_negative check (epoch >= 0),
    step integer not null constraint metrics_step_not_negative check (step >= 0),
    -- The embedding's length; 0 where the metric is not of one dimension (`sequential_score`): null may not stand in a primary key.
    dim integer not null constraint metrics_dim_not_negative check (dim >= 0),
    metric text not null,
    value real not null,
    -- An epoch that is evaluated again after a crash replaces its values.
    constraint metrics_pk primary key (job_id, epoch, dim, metric)
) strict, without rowid;
