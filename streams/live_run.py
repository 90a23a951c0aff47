"""Runs a live stream: connects by its adapter, connects again when that ends, and stops in order.

One process feeds a stream; a second one is refused. What the stream's file says may change meanwhile: parameters that
the adapter calls `LIVE` at once, others by a new connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lit.streams import topics
from lit.streams.errors import LitError, UserError
from lit.streams.form import HIDDEN
from lit.streams.live import Stream, load_stream, stream_path
from lit.streams.live_clock import MINUTE, SECOND
from lit.streams.live_feed import LiveFeed
from lit.streams.live_health import Health, health_path, write_health
from lit.streams.live_output import Output, create_topics
from lit.streams.live_state import resume
from lit.streams.sources import adapter_error
from lit.streams.stream_adapters import StreamAdapter, load_stream_adapter
from lit.streams.workspace import Workspace

log = logging.getLogger("stream")

LOOK_SECONDS, REPORT_SECONDS, CHECKPOINT_SECONDS = 0.1, 0.5, 5.0
#: What an adapter's own mistake looks like, in contrast to a lost connection.
_MISTAKES = (TypeError, NameError, AttributeError, LookupError, ArithmeticError, ImportError, AssertionError)
#: An adapter that makes them so often in a row, without a tick in between, is at fault.
_MISTAKES_IN_A_ROW = 5


@dataclass(frozen=True)
class Backoff:
    """How long to wait before the next attempt: twice as long each time, each by chance up to half shorter (s)."""

    first: float = 0.5
    longest: float = 30.0

    def delay(self, failures: int, chance: float) -> float:
        """Return the wait after so many failures in a row; `chance` is in [0, 1)."""
        return min(self.longest, self.first * 2 ** min(failures - 1, 20)) * (1 - chance / 2)


class _Changed(Exception):  # noqa: N818 - a turn of events, not an error
    """The stream's file says something that needs a new connection."""


async def run_stream(
    workspace: Workspace,
    name: str,
    bootstrap: str,
    stop: asyncio.Event,
    *,
    replication: int = 1,
    backoff: Backoff = Backoff(),
) -> None:
    """Feed a stream until its adapter has no more, or until stopped.

    Raises
    ------
    UserError
        If its file or adapter is at fault, or the provider refuses for good (trying again would not help).
    FaultError
        If Kafka does not take what is sent; a restarted stream goes on where the topic ends.
    """
    with _alone(workspace, name):
        try:
            runner = _Runner(workspace, name, bootstrap, stop, backoff)
        except UserError as error:
            with contextlib.suppress(OSError):
                write_health(health_path(workspace, name), Health("failed", last_error=str(error), written=time.time()))
            raise
        await asyncio.to_thread(create_topics, bootstrap, workspace.team, name, replication)
        await runner.run()


class _Runner:
    def __init__(self, workspace: Workspace, name: str, bootstrap: str, stop: asyncio.Event, backoff: Backoff) -> None:
        self._workspace, self._name, self._bootstrap = workspace, name, bootstrap
        self._stop, self._backoff = stop, backoff
        self._path = stream_path(workspace, name)
        self._load()
        self._reported = self._checked = time.monotonic()

    def _load(self) -> None:
        self._stamp = self._path.stat().st_mtime_ns if self._path.exists() else 0
        self._stream: Stream = load_stream(self._workspace, self._name)
        self._adapter: StreamAdapter = load_stream_adapter(self._workspace, self._stream.adapter.name)
        if self._adapter.stream is None:
            raise UserError(f"stream {self._name!r} is an output: its adapter {self._adapter.name!r} feeds nothing")
        self._parameters = self._opened(self._stream)
        self._adapter = self._adapter.with_parameters(self._parameters)
        self._secrets = self._adapter.form.secret_values(self._parameters)
        hide = _Hide(self._secrets)
        for handler in logging.getLogger().handlers:
            handler.addFilter(hide)

    def _opened(self, stream: Stream) -> dict[str, Any]:
        try:
            return self._adapter.form.opened(stream.parameters)
        except UserError as error:
            raise UserError(f"stream {self._name!r}, adapter {self._adapter.name!r}: {error}") from None

    def _redact(self, text: str) -> str:
        return redacted(text, self._secrets)

    async def run(self) -> None:
        team = self._workspace.team
        names = (topics.ticks(team, self._name).name, topics.state(team, "stream", self._name).name)
        state = await asyncio.to_thread(resume, self._bootstrap, *names, self._adapter.sequence)
        self._output = Output(self._bootstrap, team, self._name, state)
        self._feed = self._new_feed()
        try:
            await self._attempts()
            self._feed.end()
            await self._output.checkpoint(always=True)
            self._end("stopped" if self._stop.is_set() else "ended")
        except LitError as error:
            self._feed.health.last_error = self._redact(str(error))
            self._end("failed")
            raise type(error)(self._redact(str(error))) from None
        except BaseException:
            self._output.abandon()
            raise

    def _new_feed(self) -> LiveFeed:
        folder = self._workspace.root
        return LiveFeed(
            self._adapter,
            self._parameters,
            self._output,
            folder,
            folder / "logs" / "quarantine" / f"{self._name}.stream.csv",
            SECOND if any("sec" in text for text in self._stream.intervals) else MINUTE,
            self._redact,
        )

    async def _attempts(self) -> None:
        failures = mistakes = 0
        while not self._stop.is_set():
            before = self._feed.received
            self._feed.health.state = "connecting"
            try:
                await self._session()
                return
            except LitError:
                raise
            except _Changed:
                await self._reload()
                continue
            except Exception as error:
                moved = self._feed.received > before
                failures = 1 if moved else failures + 1
                mistakes = 0 if moved or not isinstance(error, _MISTAKES) else mistakes + 1
                if mistakes >= _MISTAKES_IN_A_ROW:
                    raise adapter_error(self._adapter.path, error) from error
                await self._wait(failures, error)

    async def _wait(self, failures: int, error: Exception) -> None:
        delay = self._backoff.delay(failures, random.random())
        said = str(adapter_error(self._adapter.path, error)) if isinstance(error, _MISTAKES) else str(error).strip()
        sentence = self._redact(said or type(error).__name__)
        health = self._feed.health
        if health.state != "waiting":
            self._output.tell("disconnected", reason=sentence)
        health.state, health.last_error = "waiting", sentence
        health.reconnects += 1
        log.warning("connection lost: %s; next attempt in %.1f s", sentence, delay)
        until = time.monotonic() + delay
        while time.monotonic() < until and not self._stop.is_set():
            await self._look()
            await asyncio.sleep(min(LOOK_SECONDS, max(0.0, until - time.monotonic())))

    async def _session(self) -> None:
        """Run the adapter's generator once: to its end, its error, silence, or stop."""
        self._feed.alive()
        task = asyncio.create_task(self._pump())
        try:
            while not self._stop.is_set():
                done, _ = await asyncio.wait({task, self._feed.failed}, timeout=LOOK_SECONDS)
                for finished in done:
                    finished.result()
                if done:
                    return
                await self._look()
                self._look_at_file()
                limit = self._adapter.heartbeat
                if limit and self._feed.silent > limit:
                    raise TimeoutError(f"nothing came for {limit:g} s")
        finally:
            if not task.done():  # awaiting one that failed would take the adapter's line out of its error
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await task
            self._feed.flush()

    async def _pump(self) -> None:
        assert self._adapter.stream is not None
        generator: Any = self._adapter.stream(self._feed)
        try:
            count = 0
            async for item in generator:
                self._feed.take(item)
                count += 1
                if count % 256 == 0:
                    await asyncio.sleep(0)  # one that never has to wait must not starve the rest
        finally:
            await generator.aclose()

    async def _look(self) -> None:
        self._feed.look()
        now = time.monotonic()
        if now - self._checked >= CHECKPOINT_SECONDS:
            self._checked = now
            await self._output.checkpoint()
        if now - self._reported >= REPORT_SECONDS:
            self._reported = now
            self._report()

    def _look_at_file(self) -> None:
        try:
            stamp = self._path.stat().st_mtime_ns
        except FileNotFoundError:
            return  # the supervisor ends what has no file
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            stream = load_stream(self._workspace, self._name)
            if stream.adapter != self._stream.adapter:
                raise _Changed
            opened = self._opened(stream)
        except UserError as error:
            self._feed.health.last_error = str(error)
            log.error("the changed file is not used: %s", self._redact(str(error)))
            return
        changed = {key for key in opened if opened[key] != self._parameters.get(key)}
        if changed - set(self._adapter.live) or stream.intervals != self._stream.intervals:
            raise _Changed
        self._stream = stream
        self._parameters.update(opened)

    async def _reload(self) -> None:
        log.info("the stream's file changed: connecting anew")
        await self._output.checkpoint()
        kept = self._feed.health
        self._load()
        self._feed = self._new_feed()
        self._feed.health.reconnects = kept.reconnects

    def _report(self) -> None:
        with contextlib.suppress(OSError):
            write_health(health_path(self._workspace, self._name), self._feed.report())

    def _end(self, state: str) -> None:
        health = self._feed.health
        health.state = state
        self._output.tell(state, **({"reason": health.last_error} if state == "failed" else {}))
        with contextlib.suppress(LitError):
            self._output.close()
        self._report()
        log.info("%s: %d ticks sent, %s", self._name, self._feed.report().ticks, state)


class _Hide(logging.Filter):
    """Takes secrets out of what is logged."""

    def __init__(self, secrets: Sequence[str]) -> None:
        super().__init__()
        self._secrets = secrets

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record; all are logged."""
        record.msg, record.args = redacted(record.getMessage(), self._secrets), ()
        if record.exc_info and record.exc_info[1] is not None:
            text = redacted(f"{type(record.exc_info[1]).__name__}: {record.exc_info[1]}", self._secrets)
            record.msg, record.exc_info, record.exc_text = f"{record.msg} ({text})", None, None
        return True


def redacted(text: str, secrets: Sequence[str]) -> str:
    """Return a text without secrets."""
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    return text


@contextlib.contextmanager
def _alone(workspace: Workspace, name: str) -> Iterator[None]:
    """Hold the stream's lock: two that feed one topic would number ticks twice."""
    path = workspace.folder("logs", "streams") / f".{name}.lock"
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"stream {name!r} of team {workspace.team!r} is fed by another process already") from None
        yield
