"""What the page's tests need: a real server that they feed, a cable to it that can be cut, a browser that tells."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import msgspec
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from lit.api.config import ApiConfig
from lit.api.server import listening, serving
from lit.api.services import Services
from lit.features.bars import BarBuilder
from lit.features.intervals import Interval
from lit.streams import topics
from lit.streams.clients import producer
from lit.streams.codec import encode
from lit.streams.records import Bar, Prediction, Score, encode_json
from lit.streams.store_open import open_store
from lit.streams.tick import Gap, TickBlock, Watermark
from lit.streams.workspace import Workspace
from tests.tape import real_ticks
from tests.training import add_item

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
AXE = Path(__file__).parents[1] / "ui" / "node_modules" / "axe-core" / "axe.min.js"
TEAM, STREAM, SYMBOL, DEPLOYMENT = "desk", "tape", "IBM.N", "up"
#: A deployment of two models on bars of which the first picture holds only the newest.
PAIR, SHORT, MODELS = "vote", "10second", ("first", "second")
#: A deployment of a model that says by how much the price will change.
RETURNS, RETURN = "value", 0.0004


class Cable:
    """A TCP relay in front of the server, so that a test can cut it or let it swallow everything."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._plugged, self._flowing = threading.Event(), threading.Event()
        self._plugged.set()
        self._flowing.set()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End all connections and refuse new ones."""
        self._plugged.clear()
        for end in list(self._open):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def stall(self) -> None:
        """Keep connections open, but let nothing through."""
        self._flowing.clear()

    def mend(self) -> None:
        """Let everything through again."""
        self._plugged.set()
        self._flowing.set()

    def close(self) -> None:
        """End the relay."""
        self.cut()
        self._flowing.set()
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                if not self._plugged.is_set():
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", self._port))
                self._open |= {near, far}
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._relay, args=(source, sink), daemon=True).start()

    def _relay(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                self._flowing.wait()
                sink.sendall(data)
        for end in (source, sink):
            self._open.discard(end)
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class Stage:
    """A server with one stream and one deployment; the test plays the workers."""

    def __init__(self, services: Services, url: str, cable: Cable) -> None:
        self.services, self.url, self.cable = services, url, cable
        self.token = services.keys.admin_token
        self.page_path = f"{cable.url}/t/{TEAM}/streams/{STREAM}"
        self._producer = producer(services.config.bootstrap)
        self._builder = BarBuilder(Interval.parse("1minute"))
        self._sent = 0
        self.bars: list[Bar] = []
        self.tape = real_ticks(SYMBOL, 1)
        self.advance(12_000)
        self._deploy(DEPLOYMENT, "1minute", ["m"])
        for bar in self.bars[-40:-5]:
            self.predict(bar, 0.4 + 0.2 * (bar.ordinal % 2))
            self.score(bar, 0.4 + 0.2 * (bar.ordinal % 2), 1.0)
        self.short = list(BarBuilder(Interval.parse(SHORT)).update(self.tape.slice(0, 12_000)).records(SYMBOL, SHORT))
        self._fill_pair()
        self._fill_returns()

    def advance(self, index: int) -> None:
        """Publish ticks up to an index, and the bars that they close; the store has the ticks too."""
        block = self.tape.slice(self._sent, index)
        closed = list(self._builder.update(block).records(SYMBOL, "1minute"))
        self._send(topics.ticks(TEAM, STREAM), _blocks(block))
        self._send(topics.bars(TEAM, STREAM, "1minute"), [(encode_json(bar), b"IBM.N", None, 0) for bar in closed])
        self.services.stores.team(TEAM).insert(STREAM, 0, [(self._sent, block)])
        self.bars += closed
        self._sent = index

    def close_bar(self) -> Bar:
        """Publish ticks until one more bar has closed."""
        known = len(self.bars)
        while len(self.bars) == known:
            self.advance(self._sent + 20)
        return self.bars[-1]

    def hole(self, missed: int) -> int:
        """Mark a hole in the feed before the next tick; returns that tick's index."""
        last = int(self.tape.timestamp[self._sent - 1])
        mark = encode(Watermark(SYMBOL, last, self._sent, gap=Gap("reconnect", missed, last)))
        self._send(topics.ticks(TEAM, STREAM), [(mark.value, mark.key, mark.headers, last // 1_000_000)])
        return self._sent

    @property
    def last_price(self) -> float:
        """Price of the last tick that was published."""
        return float(self.tape.price[self._sent - 1])

    def predict(self, bar: Bar, p: float) -> None:
        """Publish a prediction at a bar."""
        self._send(topics.predictions(TEAM, DEPLOYMENT), [(encode_json(_prediction(bar, p)), b"IBM.N", None, 0)])

    def score(self, bar: Bar, p: float, outcome: float) -> None:
        """Publish the outcome of a prediction."""
        score = Score(**msgspec.structs.asdict(_prediction(bar, p)), outcome=[outcome])
        self._send(topics.scores(TEAM, DEPLOYMENT), [(encode_json(score), b"IBM.N", None, 0)])

    def _deploy(self, name: str, interval: str, models: list[str]) -> None:
        for model in models:
            add_item(Workspace(self.services.config.data, TEAM), model)
        body = {"name": name, "output": {"models": models}, "stream": STREAM, "parameters": {"interval": interval}}
        answer = httpx.put(
            f"{self.url}/api/teams/{TEAM}/deployments/{name}",
            json=body,
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=60,
        )
        assert answer.status_code == 200, answer.text

    def _fill_pair(self) -> None:
        """Two models say something of every short bar: the first is always right, the second always wrong."""
        self._deploy(PAIR, SHORT, list(MODELS))
        said = [
            Score(**msgspec.structs.asdict(_prediction(bar, p, PAIR, model, SHORT)), outcome=[1.0])
            for bar in self.short
            for model, p in zip(MODELS, (0.9, 0.2), strict=True)
        ]
        self._send(topics.bars(TEAM, STREAM, SHORT), [(encode_json(self.short), b"IBM.N", None, 0)])
        scores = [(encode_json(score), b"IBM.N", None, 0) for score in said]
        self._send(topics.predictions(TEAM, PAIR), scores)  # a prediction is a score without its outcome
        self._send(topics.scores(TEAM, PAIR), scores)

    def _fill_returns(self) -> None:
        """A model says a return at each minute; what came is half of it, of the last bars nothing is known yet."""
        self._deploy(RETURNS, "1minute", ["returns"])
        for number, bar in enumerate(self.bars[-40:]):
            said = _prediction(bar, RETURN * (1 - 2 * (number % 2)), RETURNS, "returns")
            self._send(topics.predictions(TEAM, RETURNS), [(encode_json(said), b"IBM.N", None, 0)])
            if number < 36:
                score = Score(**msgspec.structs.asdict(said), outcome=[said.prediction[0] / 2])
                self._send(topics.scores(TEAM, RETURNS), [(encode_json(score), b"IBM.N", None, 0)])

    def _send(self, topic: topics.Topic, messages: Sequence[tuple[bytes, bytes | None, Any, int]]) -> None:
        topics.create_topics(self.services.config.bootstrap, topic)
        for value, key, headers, stamp in messages:
            self._producer.produce(topic.name, value, key, headers=headers, timestamp=stamp)
        assert self._producer.flush(30) == 0


@contextlib.contextmanager
def stage(bootstrap: str, data: Path) -> Iterator[Stage]:
    """Yield a running stage."""
    with open_store(data, None) as stores, listening("127.0.0.1", 0) as listener:
        services = Services(ApiConfig(data, bootstrap), stores)
        with serving(services, listener) as url:
            cable = Cable(int(url.rsplit(":", 1)[1]))
            try:
                yield Stage(services, url, cable)
            finally:
                cable.close()


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Yield a headless Chromium of this machine."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Visitor:
    """A browser window that is logged in, and notes whatever a page should not do."""

    def __init__(self, browser: Browser, stage: Stage, **options: Any) -> None:
        options = {"viewport": {"width": 1440, "height": 900}, "timezone_id": "Europe/Berlin", **options}
        self.context: BrowserContext = browser.new_context(**options)
        self.stage = stage
        self.complaints: list[str] = []
        self.tolerated: tuple[str, ...] = ()  # set before they come: some come late
        self.page = self.new_page()

    def new_page(self) -> Page:
        """Open another tab."""
        page = self.context.new_page()
        page.on("console", lambda m: self._complain(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: self._complain(str(error)))
        page.on("request", lambda r: None if self._own(r.url) else self._complain(f"foreign request {r.url}"))
        return page

    def open(self, query: str = "") -> Page:
        """Open the stream's page, logged in, and wait until its chart is drawn."""
        self.page.goto(f"{self.stage.page_path}?token={self.stage.token}{query}")
        self.page.locator(".chart-canvas canvas").first.wait_for()
        return self.page

    def close(self) -> None:
        """Close the window; fails if there was anything to complain about."""
        self.context.close()
        assert not self.complaints, self.complaints

    def _own(self, url: str) -> bool:
        return url.startswith((self.stage.cable.url, self.stage.cable.url.replace("http", "ws", 1), "data:", "blob:"))

    def _complain(self, text: str) -> None:
        if not any(part in text for part in self.tolerated):
            self.complaints.append(text)


def coloured(page: Page, colour: str) -> int:
    """Count pixels of exactly this colour (`#rrggbb`) on the charts' canvases."""
    script = """colour => {
        const [r, g, b] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
        let found = 0;
        for (const canvas of document.querySelectorAll(".chart-canvas canvas")) {
            const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            for (let at = 0; at < data.length; at += 4)
                if (data[at] === r && data[at + 1] === g && data[at + 2] === b && data[at + 3] === 255) found += 1;
        }
        return found;
    }"""
    return int(page.evaluate(script, colour))


def violations(page: Page) -> list[str]:
    """Return what axe finds serious or critical."""
    page.evaluate(AXE.read_text())  # by the debugger: the page's own policy refuses foreign scripts
    found = page.evaluate("async () => (await axe.run()).violations")
    return [
        f"{v['id']}: {json.dumps(node['target'])}"
        for v in found
        if v["impact"] in ("serious", "critical")
        for node in v["nodes"]
    ]


def _blocks(block: TickBlock, size: int = 500) -> list[tuple[bytes, bytes | None, Any, int]]:
    messages: list[tuple[bytes, bytes | None, Any, int]] = []
    for at in range(0, len(block), size):
        part = block.slice(at, at + size)
        message = encode(part)
        messages.append((message.value, message.key, message.headers, int(part.timestamp[-1]) // 1_000_000))
    return messages


def _prediction(
    bar: Bar, p: float, deployment: str = DEPLOYMENT, model: str = "m", interval: str = "1minute"
) -> Prediction:
    return Prediction(
        deployment, model, SYMBOL, interval, bar.start, bar.last_index, [p], "sha256:0", bar.ordinal, bar.end, 4.25
    )
