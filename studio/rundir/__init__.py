"""One run on disk: its folder, log, lock, control file and worker process."""
