"""What is kept on disk: one SQLite database in the data directory, written by one thread in groups."""
