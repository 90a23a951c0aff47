"""The server's broker: an embedded one that ends by accident is started again at its address."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from lit.streams.broker import EmbeddedBroker, kafka
from lit.streams.errors import FaultError

log = logging.getLogger(__name__)

#: Clients reconnect by themselves, so a second without broker is a pause and no error.
LOOK_SECONDS = 1.0
#: After a start that failed (the disk is full, say) the next is tried after this time.
RETRY_SECONDS = 10.0
#: When the process above Java was killed, Java still shuts down in order, and has the port until then.
RELEASE_SECONDS = 25.0


@contextlib.contextmanager
def kept_broker(data: Path, bootstrap: str | None) -> Iterator[str]:
    """Yield the address of a broker that answers, as `streams.broker.kafka` does, and keep an embedded one running.

    Raises
    ------
    FaultError
        If it does not answer or start at first.
    """
    if bootstrap:
        with kafka(data, bootstrap) as address:
            yield address
        return
    broker, stop = EmbeddedBroker(data), threading.Event()
    address = broker.start()
    keeper = threading.Thread(target=_keep, args=(broker, address, stop), name="broker keeper", daemon=True)
    keeper.start()
    try:
        yield address
    finally:
        stop.set()
        keeper.join()
        broker.stop()


def _keep(broker: EmbeddedBroker, address: str, stop: threading.Event) -> None:
    wait = LOOK_SECONDS
    while not stop.wait(wait):
        wait = LOOK_SECONDS
        if broker.running() is not None:
            continue
        log.error("the embedded Kafka has ended; starting it again (its log: %s)", broker.folder / "broker.log")
        deadline = time.monotonic() + RELEASE_SECONDS
        while not _free(address) and time.monotonic() < deadline and not stop.is_set():
            time.sleep(0.1)
        if stop.is_set():
            return
        try:
            found = broker.start()
        except FaultError as error:
            log.error("%s", error)
            wait = RETRY_SECONDS
            continue
        if found != address:  # something else took the port meanwhile
            log.critical("Kafka is at %s now, but workers know it at %s: end LIT and start it again", found, address)
        else:
            log.info("the embedded Kafka answers again at %s", found)


def _free(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError:
            return False
    return True
