-- Base models. Fine-tuned ones are not here: they are checkpoints of jobs.
create table models (
    id text not null constraint models_pk primary key,
    -- The name that jobs and /embed ask by, hence unique.
    name text not null constraint models_name_unique unique constraint models_name_not_empty check (length(name) > 0),
    source text not null constraint models_source_is_json check (json_valid(source)),
    status text not null constraint models_status_known check (status in ('pulling', 'ready', 'failed')),
    error text,
    summary text constraint models_summary_is_json check (json_valid(summary)),
    size_bytes integer not null constraint models_size_not_negative check (size_bytes >= 0),
    created_at text not null,
    -- A failed model says why, and no other has an error to show.
    constraint models_error_iff_failed check ((error is not null) = (status = 'failed')),
    -- A ready model has been read, so its shape is known.
    constraint models_ready_has_summary check (status <> 'ready' or summary is not null)
) strict;

-- Counting tokens of a large dataset takes seconds, so the histogram of a dataset under a model's tokenizer is kept.
-- It can be computed again at any time, and goes with either of the two.
create table token_lengths (
    dataset_id text not null constraint token_lengths_dataset_fk references datasets (id) on delete cascade,
    model_id text not null constraint token_lengths_model_fk references models (id) on delete cascade,
    histogram text not null constraint token_lengths_histogram_is_json check (json_valid(histogram)),
    constraint token_lengths_pk primary key (dataset_id, model_id)
) strict, without rowid;
