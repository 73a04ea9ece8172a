"""Jobs through kills, their latency and their memory, beside Celery: the figures of docs/jobs.md."""
