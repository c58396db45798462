"""The index of all runs in SQLite: searchable, rebuilt at any time from the run folders."""
