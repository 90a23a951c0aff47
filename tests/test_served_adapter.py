"""A dataset that stays with the parent and is read by a script's process: the same to the bit, and within bounds."""

from __future__ import annotations

import os
import socket
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lit.features.dataset import DatasetAdapter
from lit.features.sandbox import SandboxError, call
from lit.features.scripts import read_outline
from lit.features.served import ServedAdapter, Server
from lit.features.spy import Spy
from lit.features.trial import payload
from lit.streams.errors import UserError
from tests.tape import tapes
from tests.test_traders_scripts import adapter as real_adapter


class Pair:
    """An adapter, and the same one through a socket."""

    def __init__(self, adapter: Any) -> None:
        self.adapter, self.server = adapter, Server(adapter)
        self.served = ServedAdapter(os.dup(self.server.child_fd))
        self.server.start()


@pytest.fixture
def pair() -> Iterator[Pair]:
    found = Pair(real_adapter())
    yield found
    found.server.close()


@settings(max_examples=30, deadline=None)
@given(tapes(min_size=2), st.data())
def test_reads_are_the_same_to_the_bit(tape: Any, data: st.DataObject) -> None:
    both = Pair(DatasetAdapter.of_blocks([tape]))
    ours, served = both.adapter, both.served
    index = data.draw(st.integers(-2, len(tape) + 1))
    options = (data.draw(st.integers(1, 9)), data.draw(st.sampled_from(["minute", "tick", "volume"])), 2)
    future = data.draw(st.booleans())
    assert len(served) == len(ours)
    assert served.get_bars(index, *options, future).tobytes() == ours.get_bars(index, *options, future).tobytes()
    indices = np.arange(len(tape))
    for one, other in zip(
        served.get_bars_batch(indices, *options), ours.get_bars_batch(indices, *options), strict=True
    ):
        assert one.tobytes() == other.tobytes() and one.dtype == other.dtype
    for name in ("Price", "timestamp", "session", "Qualifiers"):
        assert served.column(name, indices).tolist() == ours.column(name, indices).tolist()
    assert served[0] == ours[0]
    both.server.close()


def test_errors_are_those_of_the_adapter_and_values_may_be_changed(pair: Pair) -> None:
    with pytest.raises(IndexError, match="outside"):
        pair.served[10**9]
    with pytest.raises(UserError, match="fortnight"):
        pair.served.get_bars(5, 1, "fortnight", 1)
    bars = pair.served.get_bars(20_000, 2, "minute", 1)
    bars[:] = 0
    assert (pair.served.get_bars(20_000, 2, "minute", 1) != 0).any() and pair.served.waited > 0


def test_a_read_of_too_much_is_refused_and_the_next_is_answered(pair: Pair) -> None:
    with pytest.raises(UserError, match="at most 16,000,000 at once"):
        pair.served.get_bars_batch(np.zeros(1000, np.int64), 10**6, "minute", 1)
    with pytest.raises(UserError, match="negative"):
        pair.served.get_bars_batch(np.zeros(2, np.int64), -(10**9), "minute", 1)
    assert len(pair.served.get_bars(20_000, 2**31, "minute", 1)) > 10
    assert pair.served[5] == pair.adapter[5]


@pytest.mark.parametrize("junk", [b"\xff\xff\xff\xff", b"\x00\x00\x00\x02\xc1\xc1", b"\x00\x00\x00\x01\x80", b"\x00"])
def test_what_is_no_request_ends_the_serving_and_nothing_else(junk: bytes) -> None:
    server = Server(real_adapter())
    with socket.socket(fileno=os.dup(server.child_fd)) as child:
        server.start()
        child.sendall(junk)
        child.shutdown(socket.SHUT_WR)
    server._thread.join(10)
    assert not server._thread.is_alive()
    server.close()


def tried(tmp_path: Path, source: str, **limits: Any) -> Any:
    path = tmp_path / "scripts" / "mine.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(textwrap.dedent(source))
    arguments = {"features": payload([("mine", read_outline(path), {})]), "index": 20_000}
    return call("lit.features.trial:try_on", arguments, serve=real_adapter(), **limits)


def test_a_script_is_tried_on_data_that_stay_here(tmp_path: Path) -> None:
    source = """
        import os
        def feature(adapter, index):
            print(len(os.listdir("/proc/self/fd")) < 12, len(adapter))
            return adapter.get_bars(index, 3, "minute", 1)[:, 3]
        """
    answer = tried(tmp_path, source)
    expected = real_adapter().get_bars(20_000, 3, "minute", 1)[:, 3]
    assert answer.value["rows"] == [expected.tolist()] and answer.log == f"True {len(real_adapter())}\n"
    spy = Spy(real_adapter(), 20_000)
    spy.get_bars(20_000, 3, "minute", 1)
    assert answer.value["reads"][-1]["text"] == spy.reads[0].text and 0 < answer.value["seconds"] < 1


def test_a_hanging_script_is_ended_though_its_data_are_served(tmp_path: Path) -> None:
    source = "def feature(adapter, index):\n    while True: adapter.get_bars(index, 3, 'minute', 1)\n"
    with pytest.raises(SandboxError, match="longer than 2 s"):
        tried(tmp_path, source, seconds=2)
