"""A client for Python programs, with asyncio. It needs aiohttp and orjson, and nothing of the service.

    async with Client("http://127.0.0.1:8080") as client:
        async for event in client.fetch(["https://example.com/"]):
            print(event)

See docs/clients.md.
"""

from .backoff import Advice, Backoff
from .client import Client
from .credentials import Token
from .errors import ClientClosed, ClientError, Disconnected, JobError, Reason, Refused, Unanswered
from .events import (
    BatchEvent,
    Done,
    Failed,
    OtherEvent,
    Progress,
    Result,
    Timing,
    WatchError,
    WatchEvent,
    WatchRecovered,
    WatchState,
)
from .job import Job, JobRequest, JobState
from .job_events import (
    JobCancelled,
    JobDone,
    JobEvent,
    JobFailed,
    JobProgress,
    JobQueued,
    JobRescheduled,
    JobRetry,
    JobStarted,
)
from .stream import Value
from .subscription import Batch, Subscription
from .values import Gap, Message, OnLag, Position, Restart, Since, State

__all__ = [
    "Advice",
    "Backoff",
    "Batch",
    "BatchEvent",
    "Client",
    "ClientClosed",
    "ClientError",
    "Disconnected",
    "Done",
    "Failed",
    "Gap",
    "Job",
    "JobCancelled",
    "JobDone",
    "JobError",
    "JobEvent",
    "JobFailed",
    "JobProgress",
    "JobQueued",
    "JobRequest",
    "JobRescheduled",
    "JobRetry",
    "JobStarted",
    "JobState",
    "Message",
    "OnLag",
    "OtherEvent",
    "Position",
    "Progress",
    "Reason",
    "Refused",
    "Restart",
    "Result",
    "Since",
    "State",
    "Subscription",
    "Timing",
    "Token",
    "Unanswered",
    "Value",
    "WatchError",
    "WatchEvent",
    "WatchRecovered",
    "WatchState",
]
