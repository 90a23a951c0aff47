"""What users get wrong with streams is told in a sentence, once, where they look: the command, the list, the server."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from lit.api.app import create_app
from lit.api.config import ApiConfig
from lit.api.services import Services
from lit.features.bars import BarBuilder
from lit.features.intervals import UNITS, Interval
from lit.plugins.traders.fields import Fields
from lit.streams.errors import UserError
from lit.streams.form import read_form
from lit.streams.live import AdapterName, Stream, load_stream, save_stream
from lit.streams.live_blocks import RENUMBERED, Blocks, Refused
from lit.streams.live_health import Health, health_path, read_health, write_health
from lit.streams.store_open import open_store
from lit.streams.stream_files import put_stream
from lit.streams.workspace import Workspace
from tests.feeds import FIELDS, add_stream, running
from tests.tape import real_ticks

TEAM = "mistaken"
KAFKA = {"bootstrap": "127.0.0.1:1", "topic": "t", "fields": FIELDS}


def lit(folder: Path, kafka: str, *words: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "lit.cli", "stream", *words, "--team", TEAM]
    env = {**os.environ, "LIT_DATA": str(folder), "LIT_KAFKA": kafka}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("adapter", "given", "sentence"),
    [
        ("websocket", {"url": "nonsense", "fields": FIELDS}, "'nonsense' is no address"),
        ("websocket", {"url": "ws://127.0.0.1:1", "fields": {**FIELDS, "side": "x"}}, "'side', which no tick has"),
        ("kafka", {**KAFKA, "start": "tomorrow"}, "start 'tomorrow' is neither latest nor earliest"),
        ("kafka", {**KAFKA, "options": {"no.such": "1"}}, 'No such configuration property: "no.such"'),
        ("cme", {"key": "db-0123", "symbols": ["ESZ6"], "gateway": "nowhere"}, "gateway 'nowhere' is no host:port"),
        ("cme", {"key": "env:NOT_THERE", "symbols": ["ESZ6"]}, "no variable NOT_THERE"),
    ],
)
async def test_what_no_further_attempt_would_mend_ends_the_stream_and_its_health_says_why(
    kafka: str, tmp_path: Path, adapter: str, given: dict[str, Any], sentence: str
) -> None:
    workspace = Workspace(tmp_path, TEAM)
    add_stream(workspace, "s", adapter, **given)
    with pytest.raises(UserError, match=sentence):
        async with running(workspace, "s", kafka) as task:
            await task
    health = read_health(workspace, "s")
    assert health is not None and health.state == "failed" and sentence in (health.last_error or "")


@pytest.mark.kafka
def test_one_unusable_file_hides_no_other_and_can_be_removed(kafka: str, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, TEAM)
    add_stream(workspace, "good", "crypto")
    (tmp_path / TEAM / "streams/typo.json").write_text('{"adapter": {"name": "replay"}, "paramters": {}}')
    (tmp_path / TEAM / "streams/torn.json").write_text("{")
    adapters = workspace.folder("adapters", "streams")
    (adapters / "wrong.py").write_text("def (")
    code, out, err = lit(tmp_path, kafka, "list")
    assert code == 0 and "good" in out and "paramters" in err and "torn.json is not a stream" in err
    code, out, err = lit(tmp_path, kafka, "adapters")
    assert code == 0 and "crypto" in out and "wrong.py, line 1" in err
    assert lit(tmp_path, kafka, "remove", "torn")[0] == 0 and not (tmp_path / TEAM / "streams/torn.json").exists()
    code, _, err = lit(tmp_path, kafka, "remove", "torn")
    assert code == 2 and "no stream 'torn'" in err
    code, _, err = lit(tmp_path, kafka, "gaps", "absent")
    assert code == 2 and "no stream 'absent'" in err
    for option in ("--set=speed=1e308", "--set=speed=nan"):
        code, _, err = lit(tmp_path, kafka, "new", "fast", "replay", "--set=paths=a.csv.gz", option)
        assert code == 2 and "speed is" in err
    code, _, err = lit(tmp_path, kafka, "new", "out", "restapi", "--set=port=99999")
    assert code == 2 and "<= 65535" in err
    (tmp_path / TEAM / "logs/streams").mkdir(parents=True)
    write_health(health_path(workspace, "good"), Health("ended"))
    code, out, _ = lit(tmp_path, kafka, "set", "good", "--interval", "5second")
    assert code == 0 and "good has ended: `lit stream start 'good'` lets it run" in out
    code, out, _ = lit(tmp_path, kafka, "adapters", "websocket")
    assert code == 0 and "number > 0" in out


@pytest.fixture
def client(kafka: str, tmp_path: Path) -> Iterator[TestClient]:
    with open_store(tmp_path, None) as stores:
        services = Services(ApiConfig(tmp_path, kafka, tmp_path / "static"), stores)
        yield TestClient(create_app(services), headers={"Authorization": f"Bearer {services.keys.admin_token}"})


@pytest.mark.kafka
def test_the_server_says_what_is_wrong_with_a_stream_s_file(client: TestClient, tmp_path: Path) -> None:
    add_stream(Workspace(tmp_path, TEAM), "good", "crypto")
    (tmp_path / TEAM / "streams/typo.json").write_text('{"adapter": {"name": "replay"}, "paramters": {}}')
    answer = client.get(f"/api/teams/{TEAM}/streams/typo")
    assert answer.status_code == 400 and "paramters" in answer.json()["detail"]
    names = [one["name"] for one in client.get(f"/api/teams/{TEAM}/streams").json()]
    assert "good" in names and "typo" not in names
    assert client.get(f"/api/teams/{TEAM}/streams/absent").status_code == 404


def test_an_empty_list_or_mapping_is_a_parameter_left_out(tmp_path: Path) -> None:
    form = read_form(
        "A feed.\n\nParameters\n----------\npaths : texts\nnames : texts, default a, b\nmore : mapping, optional"
    )
    assert form.check({"paths": ["x"], "names": [], "more": {}}) == {"paths": ["x"], "names": ["a", "b"], "more": None}
    with pytest.raises(UserError, match="'paths' is missing"):
        form.check({"paths": []})
    workspace = Workspace(tmp_path, TEAM)
    put_stream(workspace, "out", Stream(AdapterName("restapi"), {"port": 12345, "api_keys": []}))
    assert load_stream(workspace, "out").parameters == {"port": 12345, "api_keys": []}


def test_a_column_that_no_tick_has_is_told_unless_the_adapter_names_it() -> None:
    mapping = {"symbol": "s", "timestamp": "T", "Price": "p", "Volume": "q", "side": "b"}
    with pytest.raises(UserError, match=r"'side', which no tick has.*COLUMNS"):
        Fields(mapping, "ms")
    (tick,) = Fields(mapping, "ms", columns={"side": "text"}).ticks({"s": "A", "T": 1, "p": 2, "q": 3, "b": "buy"})
    assert tick["side"] == "buy"


@pytest.mark.parametrize("numbering", ["contiguous", "increasing"])
def test_numbers_that_begin_anew_are_no_silent_repeats(numbering: Any) -> None:
    blocks, day = Blocks({}, numbering), 86_400 * 10**9

    def add(number: int, stamp: int, channel: str = "") -> int | None:
        tick = {"symbol": "A", "timestamp": stamp, "Price": 1.0, "Volume": 1.0, "Seq. No.": number}
        return blocks.add({**tick, "channel": channel}, time.monotonic())

    for number in range(1, 2000):
        assert add(number, day + number)
    assert add(7, day + 7) is None and blocks.counts["repeats"] == 1  # what comes again is old
    with pytest.raises(Refused, match="counts anew") as refused:
        add(1, 2 * day)
    assert str(refused.value) == RENUMBERED
    assert add(1, 2 * day, channel="second day") and blocks.counts["ticks"] == 2000


def test_a_stream_that_another_version_wrote_is_told_by_its_field(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, TEAM)
    path = save_stream(workspace, "s", Stream(AdapterName("crypto")))
    path.write_text(json.dumps({"adapter": {"name": "crypto"}, "enabld": False}))
    with pytest.raises(UserError, match="enabld"):
        load_stream(workspace, "s")


@pytest.mark.kafka
def test_a_stream_or_bar_size_that_there_is_not_is_told_over_rest(client: TestClient, tmp_path: Path) -> None:
    add_stream(Workspace(tmp_path, TEAM), "there", "crypto")
    base, asked = f"/api/teams/{TEAM}/streams", {"symbol": "A", "first": 0, "last": 2}
    assert client.get(f"{base}/there/ticks", params=asked).json() == []
    assert client.get(f"{base}/nowhere/ticks", params=asked).status_code == 404
    for interval in ("9" * 20 + "minute", "9" * 20 + "day", "9" * 20 + "volume"):
        answer = client.get(f"{base}/there/bars", params={"symbol": "A", "interval": interval})
        assert answer.status_code == 400 and "too large" in answer.json()["detail"]


@pytest.mark.parametrize("unit", UNITS)
def test_the_largest_bars_hold_any_tick(unit: str) -> None:
    with pytest.raises(UserError, match=f"at most .* of unit {unit}"):
        Interval.of(unit, 2**60)
    size = next(size for size in (2**53, 36_525 * 86_400, 36_525 * 1_440, 36_525 * 24, 36_525) if fits(unit, size))
    builder = BarBuilder(Interval.of(unit, size))
    assert len(builder.update(real_ticks("IBM.N", 1).slice(0, 100))) == 0 and builder.next_index == 100


def fits(unit: str, size: int) -> bool:
    with contextlib.suppress(UserError):
        return bool(Interval.of(unit, size))
    return False
