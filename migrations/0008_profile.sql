-- Where a job's time went, and how fast its training steps were.
alter table jobs add column profile text constraint jobs_profile_is_json check (json_valid(profile));
