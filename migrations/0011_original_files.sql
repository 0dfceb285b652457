-- Where the file was kept as it was uploaded, its size.
alter table datasets add column original_bytes integer
    constraint datasets_original_bytes_not_negative check (original_bytes >= 0);
