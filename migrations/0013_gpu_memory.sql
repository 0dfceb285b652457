-- The most memory of a GPU that a job held, where one computed it.
alter table jobs add column peak_gpu_memory_bytes integer constraint jobs_gpu_memory_is_positive check (peak_gpu_memory_bytes > 0);
