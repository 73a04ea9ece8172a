"""The client for scripts without asyncio: the same calls, which wait. A thread runs the loop.

    with Client("http://127.0.0.1:8080") as client:
        print(client.publish("lobby", {"hello": "world"}))
        for event in client.fetch(["https://example.com/"]):
            print(event)

See docs/clients.md.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Any, TypeVar, Unpack

from . import client as asynchronous
from .errors import ClientClosed
from .events import BatchEvent, WatchEvent
from .job import Job as AsynchronousJob
from .job import JobRequest, JobState
from .job_events import JobEvent
from .stream import Value
from .subscription import Subscription
from .values import OnLag, Position, Since

__all__ = ["Client", "Job"]

_T = TypeVar("_T")


class Client:
    """A client of one service; use it with ``with``, once. It takes what the asynchronous one takes.

    Iterations end as theirs do, and are left with ``break``. It may be used from several threads. ``on_state`` and
    a function for tokens run in the client's own thread, where no call can be made.
    """

    def __init__(self, url: str, **options: Any) -> None:
        self._client = asynchronous.Client(url, **options)
        self._loop: asyncio.AbstractEventLoop
        self._thread = threading.Thread(target=self._run, name="sluice client", daemon=True)
        # The garbage collector may end an iteration in the middle of a call.
        self._lock = threading.RLock()
        self._open = False
        self._url = url

    def __repr__(self) -> str:
        return f"<sync.Client {self._url}>"

    def __enter__(self) -> "Client":
        if self._thread.ident is not None:
            raise RuntimeError("a client is used once: make another one")
        self._loop = asyncio.new_event_loop()
        self._thread.start()
        self._open = True
        try:
            self._wait(self._client.__aenter__)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End every iteration and call with ClientClosed, and the thread; calling it again is harmless."""
        with suppress(ClientClosed):
            self._wait(self._client.close)
        self._stop()

    def publish(self, topic: str, data: Any, *, key: str | None = None, once: bool = True) -> Position:
        """Append a JSON value to a topic and return its position."""
        return self._wait(lambda: self._client.publish(topic, data, key=key, once=once))

    def presence(self, topic: str) -> int:
        """Return how many readers a topic has."""
        return self._wait(lambda: self._client.presence(topic))

    def cancel(self, batch: str) -> int:
        """End a batch by its id and return how many URLs had not finished; each of them gets its Failed."""
        return self._wait(lambda: self._client.cancel(batch))

    def authenticate(self, token: str) -> float | None:
        """Replace the credentials; return when they expire, or None for never."""
        return self._wait(lambda: self._client.authenticate(token))

    def subscribe(self, topic: str, *, since: Since = "newest", on_lag: OnLag | None = None) -> Iterator[Value]:
        """Read a topic, from when the iteration begins."""
        return self._iterate(self._client.subscribe(topic, since=since, on_lag=on_lag))

    def watch(
        self,
        url: str,
        *,
        every: float,
        select: str | None = None,
        steps: list[dict[str, Any]] | None = None,
        on_lag: OnLag | None = None,
        since: Since | None = None,
    ) -> Iterator[WatchEvent]:
        """Watch a URL, from when the iteration begins."""
        watch = self._client.watch(url, every=every, select=select, steps=steps, on_lag=on_lag, since=since)
        return self._iterate(watch)

    def fetch(self, urls: Iterable[str | Mapping[str, Any]], **options: Any) -> Iterator[BatchEvent]:
        """Fetch URLs as one batch, and iterate over its events; leaving the iteration cancels it."""
        return self._iterate(self._client.fetch(urls, **options))

    def job(self, **request: Unpack[JobRequest]) -> "Job":
        """Have work done, now or later."""
        return Job(self, self._wait(lambda: self._client.job(**request)))

    def follow_job(self, job: str) -> "Job":
        """Return a job by its id."""
        return Job(self, self._client.follow_job(job))

    def _iterate(self, subscription: Subscription[_T]) -> Iterator[_T]:
        """Yield what a subscription has, which lives on the loop."""

        async def begin() -> Callable[[], Coroutine[Any, Any, _T]]:
            return aiter(subscription).__anext__  # type: ignore[return-value]  # every step is a coroutine

        step = self._wait(begin)
        try:
            while True:
                try:
                    yield self._wait(step)
                except StopAsyncIteration:
                    return
        finally:
            if threading.current_thread() is self._thread:  # the garbage collector runs in any thread
                self._loop.create_task(subscription.__aexit__(), name="sluice client")
            else:
                with suppress(ClientClosed):
                    self._wait(subscription.__aexit__)

    def _wait(self, call: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        if threading.current_thread() is self._thread:
            raise RuntimeError(
                "a call from on_state or a function for tokens would wait for itself: use another thread"
            )
        with self._lock:
            if not self._open:
                raise ClientClosed("the client is not open: use it in a with block")
            future = asyncio.run_coroutine_threadsafe(call(), self._loop)
        try:
            return future.result()
        except CancelledError:
            raise ClientClosed("the client was closed") from None
        except BaseException:
            future.cancel()  # an interrupt from the keyboard, for one
            raise

    def _stop(self) -> None:
        with self._lock:
            if not self._open:
                return
            self._open = False
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        """Run the loop until it is stopped; what came at the last moment is cancelled."""
        self._loop.run_forever()
        self._loop.run_until_complete(_cancel_others())
        self._loop.close()


class Job:
    """A job that was made, or is followed: the asynchronous one, with calls that wait."""

    def __init__(self, client: Client, job: AsynchronousJob) -> None:
        self._client = client
        self._job = job

    def __repr__(self) -> str:
        return f"<sync.Job {self.id} {self.state}>"

    @property
    def id(self) -> str:
        """With which anyone may follow or cancel it."""
        return self._job.id

    @property
    def topic(self) -> str:
        """The topic with its events."""
        return self._job.topic

    @property
    def state(self) -> JobState | None:
        """What was heard last."""
        return self._job.state

    @property
    def due(self) -> str | None:
        """When it begins, or begins again."""
        return self._job.due

    def __iter__(self) -> Iterator[JobEvent]:
        """Iterate over its events, from the first one to the last one of its run."""
        return self._client._iterate(self._job.events())

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the job's end and return its result; raises JobError, or TimeoutError after ``timeout`` s."""

        async def result() -> Any:
            async with asyncio.timeout(timeout):
                return await self._job.result()

        return self._client._wait(result)

    def cancel(self) -> bool:
        """Have it never run, or stop; return whether it is cancelled."""
        return self._client._wait(self._job.cancel)


async def _cancel_others() -> None:
    """Cancel all other tasks; a thread may wait still for one that has ended, so the loop turns in any case."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(asyncio.sleep(0), *others, return_exceptions=True)
