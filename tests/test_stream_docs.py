"""The guide's adapter runs as it stands there; each shipped adapter has a form and is in the guide."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from lit.plugins.traders.stream import Feed
from lit.streams.errors import UserError
from lit.streams.form import HIDDEN, read_form
from lit.streams.live import AdapterName, Stream, load_stream
from lit.streams.live_feed import LiveFeed
from lit.streams.live_run import redacted
from lit.streams.stream_adapters import load_stream_adapter, read_stream_form, shipped_stream_adapters
from lit.streams.stream_files import hidden_parameters, put_stream, steer
from lit.streams.workspace import Workspace
from tests.feeds import add_stream, gaps, numbers, recorded, running, until

GUIDE = Path(__file__).parent.parent / "docs" / "streams.md"


def test_each_shipped_adapter_has_a_form_and_is_in_the_guide(tmp_path: Path) -> None:
    workspace, guide = Workspace(tmp_path, "demo"), GUIDE.read_text()
    assert set(shipped_stream_adapters()) == {"cme", "crypto", "kafka", "nasdaq", "replay", "restapi", "websocket"}
    for name in shipped_stream_adapters():
        form = read_stream_form(workspace, name)
        assert form.summary and all(field.help or field.name in ("username",) for field in form.fields), name
        assert f"| `{name}` |" in guide
        assert load_stream_adapter(workspace, name).form == form


def test_the_runtime_offers_what_the_contract_says() -> None:
    promised = {name for name in vars(Feed) if not name.startswith("_")} | set(Feed.__annotations__)
    made = set(vars(LiveFeed)) | {"parameters", "folder"}
    assert promised <= made


def test_a_form_is_checked_and_secrets_are_hidden_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    form = read_form(
        "A feed.\n\nParameters\n----------\nkey : secret\n    Yours.\nkeys : secrets, optional\nsize : integer >= 2, "
        "default 5\nmode : [fast, slow], default fast\nnames : texts, default a, b\n"
    )
    assert form.check({"key": "k"}) == {"key": "k", "keys": None, "size": 5, "mode": "fast", "names": ["a", "b"]}
    for given, sentence in [
        ({}, "'key' is missing"), ({"key": "k", "size": 1}, ">= 2"), ({"key": "k", "mode": "x"}, "fast, slow"),
        ({"key": "k", "more": 1}, "'more' is unknown"), ({"key": ["s3cret"]}, "key is ••••••"),
    ]:  # fmt: skip
        with pytest.raises(UserError, match=sentence) as wrong:
            form.check(given)
        assert "s3cret" not in str(wrong.value)
    monkeypatch.setenv("FEED_KEY", "from outside")
    opened = form.opened({"key": "env:FEED_KEY", "keys": ["one", "two"]})
    assert opened["key"] == "from outside" and form.secret_values(opened) == ["from outside", "one", "two"]
    assert redacted("one, two", ["one"]) == f"{HIDDEN}, two"
    with pytest.raises(UserError, match="NOWHERE"):
        form.opened({"key": "env:NOWHERE"})

    workspace = Workspace(tmp_path, "demo")
    given = {"port": 1234, "api_keys": ["first", "env:SECOND"]}
    put_stream(workspace, "out", Stream(AdapterName("restapi"), given))
    shown = hidden_parameters(workspace, load_stream(workspace, "out"))
    assert shown["api_keys"] == [HIDDEN, "env:SECOND"]
    put_stream(workspace, "out", Stream(AdapterName("restapi"), {**shown, "port": 1235}))
    assert load_stream(workspace, "out").parameters == {"port": 1235, "api_keys": ["first", "env:SECOND"]}
    assert (workspace.root / "streams/out.json").stat().st_mode & 0o077 == 0


def test_a_seek_to_the_same_time_is_a_new_seek_and_others_cannot_be_steered(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, "demo")
    put_stream(workspace, "r", Stream(AdapterName("replay"), {"paths": ["a"]}))
    seeks = [steer(workspace, "r", seek="2013-10-07T14:00:00Z").parameters["seek"] for _ in range(3)]
    assert seeks == ["2013-10-07T14:00:00Z" + more for more in ("", "#2", "#3")]
    put_stream(workspace, "c", Stream(AdapterName("crypto")))
    with pytest.raises(UserError, match="no parameter 'paused'"):
        steer(workspace, "c", paused=True)


@pytest.fixture
def address() -> Iterator[str]:
    """Serve trades 1 to 40 of two symbols' common count, three at a request; number 20 is lost."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            after = int(parse_qs(urlsplit(self.path).query)["after"][0])
            good = self.headers["Authorization"] == "Bearer right"
            rows = [
                {"number": n, "symbol": "AAA", "time": int(time.time() * 1000), "price": 10.0, "size": 1}
                for n in range(max(1, after - 1), min(after + 4, 41))  # the last one comes again
                if n != 20
            ]
            self.send_response(200 if good else 403)
            self.end_headers()
            self.wfile.write(json.dumps(rows).encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/trades"
    server.shutdown()
    server.server_close()


@pytest.mark.kafka
async def test_the_adapter_of_the_guide_runs_as_it_stands_there(kafka: str, tmp_path: Path, address: str) -> None:
    _, _, own = GUIDE.read_text().partition("## Your own adapter")
    (source,) = re.findall(r"```python\n(.*?)```", own, re.DOTALL)
    workspace = Workspace(tmp_path, "guide")
    (workspace.folder("adapters", "streams") / "poll.py").write_text(source)
    add_stream(workspace, "mine", "poll", url=address, token="right", every=0.01)
    async with running(workspace, "mine", kafka) as task:
        await until(workspace, "mine", lambda health: health.ticks == 39 and health.gaps == 1, task)
    items = recorded(kafka, "guide", "mine")["AAA"]
    assert numbers(items) == [*range(1, 20), *range(21, 41)]
    assert [gap.missed for gap in gaps(items)] == [1]
    add_stream(workspace, "wrong", "poll", url=address, token="left")
    with pytest.raises(UserError, match="refuses the token"):
        async with running(workspace, "wrong", kafka) as task:
            await task
    broken = source.replace('trade["time"]', 'trade["tim"]')
    (workspace.folder("adapters", "streams") / "poll.py").write_text(broken)
    with pytest.raises(UserError, match=r"poll\.py, line \d+: KeyError"):
        async with running(workspace, "mine", kafka) as task:
            await asyncio.wait_for(asyncio.shield(task), 30)
            await task
