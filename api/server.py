"""The whole server of this machine: broker, store, API and page on one port, workers; begun and ended in order."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec
import psutil
import uvicorn

from lit.api.app import create_app
from lit.api.auth.keys import write_private
from lit.api.broker_keeper import kept_broker
from lit.api.config import ApiConfig
from lit.api.middleware import Observed
from lit.api.services import Services
from lit.api.specs import desired_workers
from lit.api.supervisor import Supervisor
from lit.settings import Settings
from lit.streams.broker import EmbeddedBroker
from lit.streams.errors import FaultError, UserError
from lit.streams.store_open import open_store, running_server

log = logging.getLogger(__name__)

#: Broker and store start within this time even on a busy machine; a second `lit up` waits for the first so long.
START_SECONDS = 120.0
#: Answers under way may take this long when the server ends.
DRAIN_SECONDS = 3


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers.

    Parameters
    ----------
    url
        Its address.
    token
        The admin's token.
    bootstrap
        Its Kafka.
    started_here
        Whether this process runs it (else it was found running).
    """

    url: str
    token: str
    bootstrap: str
    started_here: bool

    @property
    def login_url(self) -> str:
        """Address that logs a browser in."""
        return f"{self.url}/?token={self.token}"


@contextlib.contextmanager
def running(settings: Settings, supervise: bool = True) -> Iterator[Running]:
    """Yield the server over `settings.data`: the one that runs already, or one that lives as long as the context.

    Parameters
    ----------
    settings
        Configuration.
    supervise
        Whether to run the workers that the teams' files ask for.

    Raises
    ------
    UserError
        If the port is taken or the address is not this machine's.
    FaultError
        If the broker, the store or the server does not start.
    """
    data = settings.data.resolve()
    config_folder = data / ".lit"
    config_folder.mkdir(parents=True, exist_ok=True)
    with (config_folder / "server.lock").open("w") as lock:
        if (other := _lock_or_find(lock, settings, data)) is not None:
            yield other
            return
        with (
            listening(settings.host, settings.port) as listener,
            kept_broker(data, settings.kafka) as bootstrap,
            open_store(data, settings.clickhouse) as stores,
        ):
            config = ApiConfig(data, bootstrap, replication=settings.replication, embedded=settings.kafka is None)
            services = Services(config, stores)
            supervisor = Supervisor(
                lambda: desired_workers(services), services.config.private, _environment(settings, data, bootstrap)
            )
            if supervise:
                services.workers = supervisor
            with serving(services, listener) as url, _announced(services.config.private, url):
                if supervise:
                    supervisor.start()
                try:
                    yield Running(url, services.keys.admin_token, bootstrap, started_here=True)
                finally:
                    supervisor.stop()


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """Yield a bound socket; port 0 takes any free one.

    Raises
    ------
    UserError
        If the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        try:
            listener.bind((host, port))
        except (OSError, OverflowError) as error:
            code = getattr(error, "errno", None)
            if code == errno.EADDRINUSE:
                reason = f"port {port} of {host} is taken: end what uses it, or set LIT_PORT to another (0: any free)"
            else:
                reason = f"cannot listen on {host} port {port} ({error}): correct LIT_HOST or LIT_PORT"
            raise UserError(reason) from error
        yield listener
    finally:
        listener.close()


@contextlib.contextmanager
def serving(services: Services, listener: socket.socket) -> Iterator[str]:
    """Serve the application on a bound socket in a thread of its own; yields the address once it answers."""
    app = create_app(services)
    config = uvicorn.Config(
        Observed(app, services.metrics),
        log_config=None,
        access_log=False,
        server_header=False,
        ws_max_size=65_536,  # clients of the live API have nothing to say
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), name="server", daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + START_SECONDS
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                raise FaultError("the API server did not start; its log says why")
            time.sleep(0.01)
        yield _url(listener)
    finally:
        server.should_exit = True
        thread.join(DRAIN_SECONDS + 10.0)


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextlib.contextmanager
def _announced(folder: Path, url: str) -> Iterator[None]:
    """Keep the file by which others find the server."""
    file = folder / "server.json"
    pid = os.getpid()
    state = {"url": url, "pid": pid, "create_time": psutil.Process(pid).create_time()}
    write_private(file, msgspec.json.encode(state))
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def _lock_or_find(lock: IO[str], settings: Settings, data: Path) -> Running | None:
    """Take the lock (None), or return the server that has it, once it answers; one that is ending is waited for."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return None
        except BlockingIOError:
            if found := running_server(data):
                bootstrap = settings.kafka or EmbeddedBroker(data).running() or ""
                return Running(*found, bootstrap, started_here=False)
        time.sleep(0.1)
    raise FaultError(f"another LIT over {data} is starting or ending and takes too long: try again")


#: Of glibc, for workers: few arenas and an mmap threshold that stays, else megabyte messages leave holes in the heap
#: that grow with the length of a stream.
_ALLOCATOR = {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": "262144", "MALLOC_TRIM_THRESHOLD_": "1048576"}


def _environment(settings: Settings, data: Path, bootstrap: str) -> dict[str, str]:
    """Return the environment of workers: they use this server's broker and data, whatever lit.toml says."""
    own = {
        "LIT_DATA": str(data),
        "LIT_KAFKA": bootstrap,
        "LIT_REPLICATION": str(settings.replication),
        "LIT_LOG_LEVEL": settings.log_level,
        "LIT_LOG_FORMAT": settings.log_format,
        "PYTHONUNBUFFERED": "1",
    }
    if settings.clickhouse:
        own["LIT_CLICKHOUSE"] = settings.clickhouse
    return {**_ALLOCATOR, **os.environ, **own}
