-- A job's place in the queue as a number: two jobs may be queued within one tick of the clock, and a clock may go back.
-- A resumed job queues at the end; one that a restart interrupted keeps its place.
alter table jobs add column queue_position integer not null default 0;
update jobs set queue_position = (
    select count(*) from jobs as earlier where (earlier.queued_at, earlier.id) <= (jobs.queued_at, jobs.id)
);
drop index jobs_queue;
alter table jobs drop column queued_at;
-- The claim's order; holds only what waits, so it stays small however long the history grows.
create index jobs_queue on jobs (queue_position) where status = 'queued';
-- Where the queue ends.
create unique index jobs_queue_position on jobs (queue_position);
