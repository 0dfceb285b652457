-- What aliases mean and meant: each row is a move, and an alias's last one is in force. A move is one insert, so whoever
-- reads meanwhile finds the old meaning or the new one.
create table alias_moves (
    id integer not null constraint alias_moves_pk primary key autoincrement,
    alias text not null constraint alias_moves_alias_not_empty check (length(alias) > 0),
    -- A base model's name, or `job:<id>@epoch-<n>`: never a name whose meaning changes by itself.
    model text not null,
    -- The checkpoint, where it is one. No foreign key: old moves outlive what they name, and the last one is protected by
    -- the statements that delete models, jobs and checkpoints.
    job_id text,
    epoch integer constraint alias_moves_epoch_positive check (epoch > 0),
    action text not null constraint alias_moves_action_known check (action in ('set', 'rollback')),
    -- The move that a rollback goes back to; none where the alias meant nothing before. A rollback takes over that of the
    -- move it went back to, so that several in a row walk back.
    before integer constraint alias_moves_before_fk references alias_moves (id),
    moved_by text,
    created_at text not null,
    constraint alias_moves_checkpoint_whole check ((job_id is null) = (epoch is null))
) strict;

create index alias_moves_by_alias on alias_moves (alias, id);
create index alias_moves_by_job on alias_moves (job_id) where job_id is not null;
create index alias_moves_before on alias_moves (before) where before is not null;

-- What aliases mean now.
create view aliases as
    select moves.*, (select min(first.created_at) from alias_moves as first where first.alias = moves.alias) as begun_at
    from alias_moves as moves where moves.id = (select max(id) from alias_moves where alias = moves.alias);
