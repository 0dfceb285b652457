-- Datasets: what is known of an upload. The rows themselves lie in datasets/<id>/{train,eval}.jsonl.
create table datasets (
    -- A UUID of version 7, so that order by id is order by time of upload and a list's cursor is an id.
    id text not null constraint datasets_pk primary key,
    -- Not unique: people upload `pairs.csv` again and again, and the id tells them apart.
    name text not null constraint datasets_name_not_empty check (length(name) > 0),
    format text not null,
    -- JSON, since nothing searches in it: the columns that were read, those that were not, where the evaluation rows come from.
    mapping text not null constraint datasets_mapping_is_json check (json_valid(mapping)),
    ignored_columns text not null constraint datasets_ignored_columns_is_json check (json_valid(ignored_columns)),
    split text not null constraint datasets_split_is_json check (json_valid(split)),
    train_rows integer not null constraint datasets_train_rows_not_negative check (train_rows >= 0),
    eval_rows integer not null constraint datasets_eval_rows_not_negative check (eval_rows >= 0),
    duplicate_rows integer not null constraint datasets_duplicate_rows_not_negative check (duplicate_rows >= 0),
    duplicate_positives integer not null constraint datasets_duplicate_positives_not_negative check (duplicate_positives >= 0),
    sha256 text not null constraint datasets_sha256_is_hex check (length(sha256) = 64),
    eval_sha256 text constraint datasets_eval_sha256_is_hex check (length(eval_sha256) = 64),
    size_bytes integer not null constraint datasets_size_not_negative check (size_bytes >= 0),
    -- RFC 3339 in UTC with three decimals, so that text order is time order.
    created_at text not null
) strict;
