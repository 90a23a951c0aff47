"""The shell around every Faust processor: how an app is configured, run, stopped and how it fails.

Faust gives the consumer group, the assignment, in-order delivery to one agent and back-pressure. An agent's events are
batches: what a fetch brought of a partition, taken by `event.message.take()`. Faust acknowledges nothing by itself:
agents do, after what they wrote is safe. An error in an agent ends the process, since Faust would otherwise
acknowledge the failed event and go on; the supervisor starts it again.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import faust
from faust.tables.manager import TableManager
from faust.transport.drivers import aiokafka

from lit.processors.batches import GATHER_SECONDS, BatchConsumer
from lit.streams.errors import LitError

log = logging.getLogger(__name__)

#: Exit code of a processor that met a fault it cannot judge; the supervisor restarts it.
CRASHED = 70
#: How long a clean stop may take before the process ends all the same (Faust can hang on exit).
STOP_SECONDS = 10.0
#: Batches that may wait between consumer and agent; each is at most a partition's share of a fetch.
BUFFERED_BATCHES = 4
#: A partition's share of a fetch: some twenty blocks. A larger message comes all the same, alone (KIP-74).
FETCH_BYTES = 4 * 1024 * 1024
#: How long a thread that computes keeps the interpreter from those that move messages; Python's own is 5 ms, and a
#: message passes several threads. With a tenth of it predictions came a tenth sooner at the median.
SWITCH_SECONDS = 0.0005


class _Transport(aiokafka.Transport):  # type: ignore[misc]
    Consumer = BatchConsumer


class _NoTables(TableManager):  # type: ignore[misc]
    async def on_start(self) -> None:
        """Start at once: Faust waits a second here for tables to come."""
        await self._update_channels()
        await self.recovery.start()


class App(faust.App):  # type: ignore[misc]
    """A Faust app without tables, so without a folder in the directory that it is started in."""

    #: Time between fetches in a steady flow; may be changed while it runs.
    gather_seconds = GATHER_SECONDS

    def _create_directories(self) -> None:
        pass

    def _new_transport(self) -> Any:
        return _Transport(self.conf.broker_consumer, self)


def create_app(app_id: str, bootstrap: str) -> App:
    """Return a Faust app for batches of raw bytes, without tables, web server or leader topic."""
    return App(
        app_id,
        broker=f"kafka://{bootstrap.replace(',', ';kafka://')}",
        key_serializer="raw",
        value_serializer="raw",
        store="memory://",
        TableManager=_NoTables,
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        stream_wait_empty=False,
        stream_buffer_maxsize=BUFFERED_BATCHES,
        stream_publish_on_commit=False,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=FETCH_BYTES,
        broker_check_crcs=False,  # as librdkafka: the broker checked them, and they cost a seventh of the processor
        broker_commit_interval=1.0,
        broker_session_timeout=6.0,
        broker_heartbeat_interval=1.5,
    )


def raw_topic(app: faust.App, *names: str) -> Any:
    """Return Kafka topics as a Faust channel of raw keys and values."""
    return app.topic(*names, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")


def is_current(app: faust.App, event: Any) -> bool:
    """Say whether an event's partition is still this process's.

    It may have been revoked while the agent waited for a lock. What is no longer its own is delivered again, to whoever
    owns the partition by then.
    """
    generation = bool(event.message.generation_id == app.consumer_generation_id)
    return generation and app.flow_control.is_active() and not app.should_stop


def guarded(body: Callable[[Any], Awaitable[None]]) -> Callable[[Any], AsyncIterator[None]]:
    """Wrap an agent's body so that any error ends the process with a code and one line."""

    async def agent(stream: Any) -> AsyncIterator[None]:
        try:
            await body(stream)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            end_process(error)
        if False:  # pragma: no cover - makes this an async generator, as Faust's agents are
            yield

    return agent


_ending = threading.Lock()


def end_process(error: BaseException) -> None:
    """Say what happened and end at once: nothing more is acknowledged, committed or sent.

    What fails while the process ends is a consequence, and not told.
    """
    if not _ending.acquire(blocking=False):
        threading.Event().wait()
    if isinstance(error, LitError):
        log.error("%s", error)
        code = error.exit_code
    else:
        log.critical("processor ends: %s", error, exc_info=error)
        code = CRASHED
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def run(app: faust.App, until: Callable[[], Awaitable[None]] | None = None) -> None:
    """Run a processor until SIGTERM or Ctrl-C, or until `until` returns; then stop it cleanly."""
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        asyncio.run(_run(app, until))
    except Exception as error:
        end_process(error)  # what Faust started before it failed would keep the process alive


async def _run(app: faust.App, until: Callable[[], Awaitable[None]] | None) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    app.loop = loop
    await app.start()
    gc.collect()
    gc.freeze()  # else a full collection goes through all that was imported: with TensorFlow it stops all for 0.2 s
    waits = [asyncio.ensure_future(stop.wait()), asyncio.ensure_future(_crash_of(app))]
    if until is not None:
        waits.append(asyncio.ensure_future(until()))
    done, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    for task in done:
        if task.exception() is not None:
            end_process(task.exception())  # type: ignore[arg-type]
    try:
        await asyncio.wait_for(app.stop(), STOP_SECONDS)
    except (TimeoutError, asyncio.CancelledError):
        log.warning("clean stop took over %.0f s: ending", STOP_SECONDS)
        os._exit(0)


async def _crash_of(app: faust.App) -> None:
    """Raise what made Faust's own services fail (a broker that is gone, say)."""
    while not app.crashed:
        await asyncio.sleep(0.2)
    raise app.crash_reason or RuntimeError("Faust stopped without a reason")
