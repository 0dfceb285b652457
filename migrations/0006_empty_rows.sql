-- Rows with an empty text are kept and counted.
alter table datasets add column empty_rows integer not null default 0
    constraint datasets_empty_rows_not_negative check (empty_rows >= 0);
