"""What goes wrong around a command: each is one sentence that says what to do, and nothing accepted is lost."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from lit.streams.broker import EmbeddedBroker
from lit.streams.tick import TickBlock
from lit.streams.workspace import Workspace
from tests.tape import SAMPLES, real_ticks
from tests.test_replay import recorded

DAYS = [str(SAMPLES / f"{symbol}_2013100{day}.csv.gz") for day in (7, 8) for symbol in ("IBM.N", "BAC.N")]


def lit(data: Path, *arguments: str, kafka: str | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "lit.cli", *arguments],
        env={**os.environ, "LIT_DATA": str(data), **({"LIT_KAFKA": kafka} if kafka else {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_broker_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
    for command in (["replay", DAYS[0], "--stream", "s"], ["worker", "bars", "--source", "s"], ["topics"]):
        process = lit(tmp_path, *command, kafka=address)
        _, said = process.communicate(timeout=120)
        assert process.returncode == 1, said
        assert address in said and "Traceback" not in said


@pytest.mark.kafka
@pytest.mark.fault
def test_a_broker_that_dies_in_a_replay_loses_nothing_that_it_took(tmp_path: Path) -> None:
    broker = EmbeddedBroker(tmp_path)
    address = broker.start()
    code = (
        "import sys, time; from pathlib import Path; from lit.streams import replay as r;"
        "from lit.streams import topics; from lit.streams.workspace import Workspace; r.DELIVERY_SECONDS = 5.0;"
        "t = topics.ticks('demo', 's'); topics.create_topics(sys.argv[1], t);"
        "plan = r.plan_files(Workspace(Path(sys.argv[2]), 'demo'), 'refinitiv', sys.argv[3:]);"
        "slow = lambda _: time.sleep(0.2);"
        "import lit.cli as c; c.app = lambda: r.replay(sys.argv[1], t.name, plan, on_progress=slow); c.main()"
    )
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", code, address, str(tmp_path), *DAYS], stderr=subprocess.PIPE, text=True
        )
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if recorded(address, "lit.demo.ticks.s"):
                break
            time.sleep(0.1)
        for child in psutil.process_iter(["cmdline"]):
            words = child.info["cmdline"] or []
            if "kafka.Kafka" in words and any(str(tmp_path) in word for word in words):
                child.kill()
        _, said = process.communicate(timeout=120)
        assert process.returncode == 1, said
        assert "goes on where it stopped" in said and "Traceback" not in said
    finally:
        broker.stop()
    again = EmbeddedBroker(tmp_path)
    address = again.start()
    try:
        rest = lit(tmp_path, "replay", *DAYS, "--stream", "s", kafka=address)
        _, said = rest.communicate(timeout=120)
        assert rest.returncode == 0, said
        for symbol, items in recorded(address, "lit.demo.ticks.s").items():
            blocks = [item for item in items if isinstance(item, TickBlock)]
            joined = np.concatenate([block.price for block in blocks])
            assert joined.tobytes() == real_ticks(symbol, 2).price.tobytes()
    finally:
        again.stop()


def test_no_room_for_a_dataset_is_one_sentence_and_leaves_no_half_file(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; import numpy as np; import lit.cli as c;"
        "from lit.features.engine import Samples; from lit.processors.chunks import ChunkWriter;"
        "n = np.arange(400_000);\n"
        "def write(w):\n"
        "    try: w.append(s, n)\n"
        "    finally: w.abandon()\n"
        "s = Samples('X', n, n, {'bars': np.random.default_rng(0).normal(size=(400_000, 8))});"
        "c.app = lambda: write(ChunkWriter(Path(sys.argv[1]) / 'chunks' / 's_0_9.h5', 'float32')); c.main()"
    )

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, 65_536))

    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=limited,
    )
    assert done.returncode == 1, done.stderr
    assert "s_0_9.h5" in done.stderr and "Traceback" not in done.stderr
    assert list((tmp_path / "chunks").iterdir()) == []


def test_a_data_folder_that_is_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    process = lit(tmp_path / "data", "replay", DAYS[0], "--stream", "s")
    _, said = process.communicate(timeout=120)
    assert process.returncode in (1, 2) and "Traceback" not in said and "data" in said


@pytest.mark.parametrize("name", ["../evil", "a/b", "", ".hidden"])
def test_a_name_that_leaves_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    process = lit(tmp_path, "build", "s", "--team", name)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 2 and "not usable" in said
    assert Workspace(tmp_path, "demo").root.exists() is False
