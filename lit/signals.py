"""SIGINT and SIGTERM as an event, so that a command ends in order."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Event


@contextmanager
def halting() -> Iterator[Event]:
    """Yield an event that SIGINT and SIGTERM set, in the main thread; they may come more than once.

    Python runs handlers in the main thread, amid whatever it does: while it waits for the event it may hold the event's
    lock, and so may a handler that the next signal interrupts. So a thread of its own sets it.
    """
    halt = Event()
    if threading.current_thread() is not threading.main_thread():
        yield halt
        return
    asked: SimpleQueue[bool] = SimpleQueue()  # unlike a lock, its `put` may interrupt itself

    def wait() -> None:
        if asked.get():
            halt.set()

    threading.Thread(target=wait, name="signals", daemon=True).start()
    before = {number: signal.signal(number, lambda *_: asked.put(True)) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield halt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        asked.put(False)
