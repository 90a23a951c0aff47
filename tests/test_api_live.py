"""Live data over a real server and broker: snapshots, open bars, numbering, coming back, slow clients, records."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import msgspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from lit.api.config import ApiConfig
from lit.api.live.channel import Channel, Client
from lit.api.live.forming import Forming, FormingBars
from lit.api.server import listening, serving
from lit.api.services import Services
from lit.features.bars import BarBuilder
from lit.features.intervals import Interval
from lit.streams import topics
from lit.streams.clients import producer
from lit.streams.codec import encode
from lit.streams.records import Bar, Prediction, Score, encode_json
from lit.streams.store_open import open_store
from lit.streams.tick import END_OF_TIME, TickBlock, Watermark, from_iso
from lit.streams.workspace import Workspace
from tests.tape import cut, real_ticks, tapes
from tests.training import add_item

MINUTE = Interval.parse("1minute")


class Server:
    """A server under test, and a publisher of what workers would publish."""

    def __init__(self, url: str, services: Services) -> None:
        self.url, self.services = url, services
        self.bearer = {"Authorization": f"Bearer {services.keys.admin_token}"}
        self.client = httpx.Client(base_url=f"{url}/api/teams", headers=self.bearer, timeout=60)
        self.producer = producer(services.config.bootstrap)

    def ticks(self, team: str, block: TickBlock, size: int = 3000) -> None:
        topic = topics.ticks(team, "tape")
        topics.create_topics(self.services.config.bootstrap, topic)
        for at in range(0, len(block), size):
            part = block.slice(at, at + size)
            message, stamp = encode(part), int(part.timestamp[-1]) // 1_000_000
            self.producer.produce(topic.name, message.value, message.key, headers=message.headers, timestamp=stamp)
        assert self.producer.flush(30) == 0

    def records(self, topic: topics.Topic, records: list[Any]) -> None:
        topics.create_topics(self.services.config.bootstrap, topic)
        for record in records:
            self.producer.produce(topic.name, encode_json(record), record.symbol.encode())
        assert self.producer.flush(30) == 0

    def bars(self, team: str, bars: list[Bar]) -> None:
        self.records(topics.bars(team, "tape", "1minute"), bars)

    def live(self, team: str, query: str = "") -> ClientConnection:
        address = f"{self.url}/api/teams/{team}/streams/tape/live?symbol=IBM.N{query}".replace("http", "ws", 1)
        return connect(address, additional_headers=self.bearer, proxy=None)


@pytest.fixture(scope="module")
def server(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("live")
    with open_store(data, None) as stores, listening("127.0.0.1", 0) as listener:
        services = Services(ApiConfig(data, kafka), stores)
        with serving(services, listener) as url:
            yield Server(url, services)


def receive(socket: ClientConnection) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(socket.recv(timeout=30))
    return found


def until(socket: ClientConnection, kind: str) -> dict[str, Any]:
    while (message := receive(socket))["type"] != kind:
        pass
    return message


def plain(record: msgspec.Struct) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(encode_json(record))
    return found


def tape() -> TickBlock:
    return real_ticks("IBM.N", 1)


def bars_until(index: int) -> list[Bar]:
    return list(BarBuilder(MINUTE).update(tape().slice(0, index)).records("IBM.N", "1minute"))


def open_bar(index: int) -> dict[str, Any]:
    builder = BarBuilder(MINUTE)
    builder.update(tape().slice(0, index))
    (bar,) = builder.forming().records("IBM.N", "1minute")
    return plain(bar)


@pytest.mark.kafka
def test_a_client_sees_history_then_the_bar_forming_then_each_bar_close(server: Server) -> None:
    half, later = 12_000, 12_900
    server.ticks("flow", tape().slice(0, half))
    server.bars("flow", bars_until(half))
    with server.live("flow") as socket:
        hello, snapshot = receive(socket), receive(socket)
        assert (hello["type"], hello["resumed"], snapshot["type"]) == ("hello", False, "snapshot")
        assert snapshot["bars"] == [plain(bar) for bar in bars_until(half)][-500:]
        forming = snapshot["forming"] or until(socket, "forming")["bar"]
        assert from_iso(forming.pop("last_timestamp")) <= tape().timestamp[half - 1]
        assert forming == open_bar(half)

        server.ticks("flow", tape().slice(half, later), size=40)
        server.bars("flow", bars_until(later)[len(bars_until(half)) :])
        seq, closed = hello["seq"], []
        while True:
            message = receive(socket)
            if message["type"] == "bar":
                seq += 1
                closed.append(message["bar"])
            elif message["type"] == "forming":
                assert message["bar"]["ordinal"] == len(bars_until(half)) + len(closed)
                forming = message["bar"]
            assert message["seq"] == seq
            forming.pop("last_timestamp", None)
            if forming == open_bar(later) and len(closed) == len(bars_until(later)) - len(bars_until(half)):
                break
        assert closed == [plain(bar) for bar in bars_until(later)[len(bars_until(half)) :]]
        assert until(socket, "heartbeat")["seq"] == seq


@pytest.mark.kafka
def test_a_client_that_comes_back_gets_what_it_missed_and_one_of_another_epoch_gets_all(server: Server) -> None:
    server.ticks("back", tape().slice(0, 5000))
    server.bars("back", bars_until(3000))
    with server.live("back") as socket:
        hello = receive(socket)
        assert receive(socket)["type"] == "snapshot"
    missed = bars_until(5000)[len(bars_until(3000)) :]
    server.bars("back", missed)
    while len(server.client.get("/back/streams/tape/bars?symbol=IBM.N").json()["bars"]) < len(bars_until(5000)):
        time.sleep(0.05)
    with server.live("back", f"&seq={hello['seq']}&epoch={hello['epoch']}") as socket:
        again = receive(socket)
        assert again["resumed"] is True and again["seq"] == hello["seq"]
        found = [receive(socket) for _ in missed]
        assert [m["bar"] for m in found] == [plain(bar) for bar in missed]
        assert [m["seq"] for m in found] == list(range(hello["seq"] + 1, hello["seq"] + 1 + len(missed)))
    for query in (f"&seq={hello['seq']}&epoch=other", f"&seq=99999&epoch={hello['epoch']}"):
        with server.live("back", query) as socket:
            assert receive(socket)["resumed"] is False
            assert len(receive(socket)["bars"]) == len(bars_until(5000))


@pytest.mark.kafka
def test_a_client_that_stops_reading_is_told_and_costs_the_server_no_memory(server: Server) -> None:
    (bar, *_), count = bars_until(3000), 40_000
    server.ticks("slow", tape().slice(0, 100))
    bars = [msgspec.structs.replace(bar, ordinal=n, first_index=10 * n, last_index=10 * n + 9) for n in range(count)]
    server.bars("slow", bars[:10])
    with server.live("slow") as socket:
        receive(socket)
        topic = topics.bars("slow", "tape", "1minute").name
        for at in range(10, count, 500):  # a message may have many bars
            server.producer.produce(topic, encode_json(bars[at : at + 500]), b"IBM.N")
        assert server.producer.flush(30) == 0
        query = "/slow/streams/tape/bars?symbol=IBM.N&limit=1"
        deadline = time.monotonic() + 60
        while (found := server.client.get(query).json()["bars"][0]["ordinal"]) != count - 1:
            assert time.monotonic() < deadline, found
            time.sleep(0.1)
        messages, newest = [], -1
        while newest < count - 1:  # heartbeats may come at any time, when all else is slow too
            if (message := receive(socket))["type"] in ("snapshot", "bar", "lagged"):
                messages.append(message)
                newest = max([newest, *(b["ordinal"] for b in message.get("bars", [message.get("bar")]) if b)])
    kinds = [message["type"] for message in messages]
    assert kinds[0] == "snapshot" and "lagged" in kinds
    last = max(n for n, kind in enumerate(kinds) if kind == "lagged")
    known = [b["ordinal"] for b in messages[last + 1]["bars"]] + [m["bar"]["ordinal"] for m in messages[last + 2 :]]
    assert known == list(range(known[0], count))
    assert "lit_ws_lagged_total" in server.services.metrics.render().decode()


@pytest.mark.kafka
def test_predictions_at_bars_of_another_interval_are_shown_from_the_first_bar_on(server: Server) -> None:
    server.ticks("other", tape().slice(0, 9000))
    server.bars("other", bars_until(9000))
    body = {"name": "slow", "stream": "tape", "parameters": {"interval": "5minute"}}
    assert server.client.put("/other/deployments/slow", json=body).status_code == 200
    five = list(BarBuilder(Interval.parse("5minute")).update(tape().slice(0, 9000)).records("IBM.N", "5minute"))
    said = [
        Prediction("slow", "m", "IBM.N", "5minute", b.start, b.last_index, [0.5], "", b.ordinal, b.end, 1.0)
        for b in five
    ]
    server.records(topics.predictions("other", "slow"), said)
    with server.live("other", "&deployment=slow") as socket:
        receive(socket)
        shown = receive(socket)
    assert len(shown["bars"]) == len(bars_until(9000)) and shown["predictions"] == [plain(one) for one in said]
    with server.live("other", "&deployment=slow&interval=10second") as socket:
        receive(socket)
        shown = receive(socket)
    first = shown["bars"][0]["first_index"]
    assert first > 0 and shown["predictions"] == [plain(one) for one in said if one.index >= first] != []


@pytest.mark.kafka
def test_bars_are_paged_by_ordinal_and_repeats_count_once(server: Server) -> None:
    bars = bars_until(6000)
    server.ticks("paged", tape().slice(0, 6000))
    server.bars("paged", bars[:8] + bars[3:])
    page = server.client.get("/paged/streams/tape/bars?symbol=IBM.N&interval=1min&limit=5").json()["bars"]
    assert page == [plain(bar) for bar in bars[-5:]]
    before = server.client.get(f"/paged/streams/tape/bars?symbol=IBM.N&limit=5000&before={page[0]['ordinal']}")
    assert before.json()["bars"] == [plain(bar) for bar in bars[:-5]]
    assert server.client.get("/paged/streams/tape/bars?symbol=NONE").json() == {"bars": []}


@pytest.mark.kafka
def test_ticks_of_a_bar_come_as_packets_or_as_arrow(server: Server) -> None:
    server.services.stores.team("drill").insert("tape", 0, [(0, tape().slice(0, 2000))])
    path = "/drill/streams/tape/ticks?symbol=IBM.N&first=100&last=149"
    packets = server.client.get(path).json()
    assert len(packets) == 50
    assert packets[7]["index"] == 107 and packets[7]["Price"] == tape().price[107]
    assert from_iso(packets[7]["timestamp"]) == tape().timestamp[107]
    reply = server.client.get(path, headers={"Accept": "application/vnd.apache.arrow.stream"})
    table = pa.ipc.open_stream(reply.content).read_all()
    assert table["index"].to_pylist() == list(range(100, 150))
    assert table["timestamp"].to_pylist() == tape().timestamp[100:150].tolist()
    refused = server.client.get("/drill/streams/tape/ticks?symbol=IBM.N&first=0&last=10000")
    assert refused.status_code == 400 and "10000" in refused.json()["detail"]


@pytest.mark.kafka
def test_predictions_and_scores_come_with_how_the_model_does(server: Server) -> None:
    bars = bars_until(6000)
    server.ticks("said", tape().slice(0, 6000))
    server.bars("said", bars)
    add_item(Workspace(server.services.config.data, "said"), "m")
    body = {"name": "up", "output": {"models": ["m"]}, "stream": "tape", "parameters": {"interval": "1minute"}}
    assert server.client.put("/said/deployments/up", json=body).status_code == 200
    made = [
        Prediction("up", "m", "IBM.N", "1minute", bar.start, bar.last_index, [0.25 + 0.5 * (n % 2)], "sha256:0",
                   bar.ordinal, f"2013-10-07T14:00:{n:02d}.000Z", 1.5)
        for n, bar in enumerate(bars[:10])
    ]  # fmt: skip
    scores = [Score(**msgspec.structs.asdict(p), outcome=[1.0]) for p in made[:8]]
    server.records(topics.predictions("said", "up"), made[:9])
    server.records(topics.scores("said", "up"), scores[:7])
    found = server.client.get("/said/deployments/up/predictions?symbol=IBM.N").json()["predictions"]
    assert found == [plain(p) for p in made[:9]]
    with server.live("said", "&deployment=up") as socket:
        snapshot = until(socket, "snapshot")
        assert [p["ordinal"] for p in snapshot["predictions"]] == [p.ordinal for p in made[:9]]
        assert snapshot["scores"] == [plain(s) for s in scores[:7]]
        assert [(s["model"], s["scored"], s["pending"]) for s in snapshot["summaries"]] == [("m", 7, 2)]
        server.records(topics.predictions("said", "up"), made[9:])
        assert until(socket, "prediction")["prediction"] == plain(made[9])
        server.records(topics.scores("said", "up"), scores[7:])
        message = until(socket, "score")
        assert message["score"] == plain(scores[7]) and message["summary"]["accuracy"] == 0.5
    body = server.client.get("/said/deployments/up/scores").json()
    assert len(body["scores"]) == 8
    assert [(s["symbol"], s["scored"], s["pending"]) for s in body["summary"]] == [(None, 8, 2), ("IBM.N", 8, 2)]
    for kind, records in (("predictions", made), ("scores", scores)):
        path = f"/said/deployments/up/{kind}?limit=3&before={made[5].ordinal}"
        page = server.client.get(f"{path}&symbol=IBM.N").json()[kind]
        assert page == [plain(record) for record in records[2:5]]
        refused = server.client.get(path)
        assert refused.status_code == 400 and "symbol" in refused.json()["detail"]


@pytest.mark.kafka
@pytest.mark.parametrize("interval", ["7minute", "250tick", "1hour"])
def test_bars_of_any_interval_are_computed_from_stored_ticks_and_grow_with_them(server: Server, interval: str) -> None:
    team, store = f"any-{interval}", server.services.stores.team(f"any-{interval}")
    server.ticks(team, tape().slice(0, 100))
    for first, stop in ((0, 6000), (6000, 9000)):
        store.insert("tape", 0, [(stop, tape().slice(first, stop))])
        found = server.client.get(f"/{team}/streams/tape/bars?symbol=IBM.N&interval={interval}&limit=5000").json()
        columns = BarBuilder(Interval.parse(interval)).update(tape().slice(0, stop))
        assert found["bars"] == [plain(bar) for bar in columns.records("IBM.N", interval)] != []
    last = found["bars"][-1]["ordinal"]
    page = server.client.get(f"/{team}/streams/tape/bars?symbol=IBM.N&interval={interval}&limit=2&before={last}")
    assert page.json()["bars"] == found["bars"][:-1][-2:]


@pytest.mark.kafka
def test_what_does_not_exist_is_told_and_the_socket_closed(server: Server) -> None:
    server.ticks("wrong", tape().slice(0, 100))
    for query, words in (("&interval=soon", "soon"), ("&deployment=none", "'none'")):
        with server.live("wrong", query) as socket:
            assert words in receive(socket)["detail"]
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv(timeout=10)
            assert closed.value.rcvd is not None and closed.value.rcvd.code == 4404
    assert server.client.get("/wrong/streams/none/bars?symbol=A").status_code == 404
    assert server.client.get("/wrong/deployments/none/scores").status_code == 404
    assert server.client.get("/wrong/streams/tape/bars?symbol=A&limit=0").status_code == 422
    with pytest.raises(InvalidStatus) as refused:
        connect(f"{server.url}/api/teams/wrong/streams/tape/live?symbol=A".replace("http", "ws", 1), proxy=None)
    assert refused.value.response.status_code == 403


@given(tapes(max_size=80), st.data())
def test_the_open_bar_is_that_of_the_kernel_however_bars_and_ticks_arrive(tape: TickBlock, data: st.DataObject) -> None:
    interval = Interval.parse(data.draw(st.sampled_from(["1minute", "30second", "3tick", "500volume"])))
    kernel = BarBuilder(interval)
    bars = list(kernel.update(tape).records(tape.symbol, interval))
    (expected,) = [*kernel.forming().records(tape.symbol, interval), None][:1]
    forming = FormingBars()
    forming.add(str(interval))
    known = data.draw(st.integers(0, len(bars)))
    for bar in bars[:known]:
        forming.closed(bar)
    begin = data.draw(st.integers(0, bars[known - 1].last_index + 1)) if known else 0
    rest = bars[known:]
    places = data.draw(st.lists(st.integers(begin, len(tape)), max_size=5).map(sorted))
    for part in cut(tape, [begin, *places])[1:]:
        _, gap = forming.take(part)
        assert not gap
        while rest and data.draw(st.booleans()):  # closed bars come late, and of ticks that came before
            if rest[0].last_index >= part.next_index:
                break
            forming.closed(rest.pop(0))
    found = forming.row((str(interval), tape.symbol))
    if expected is None:
        assert found is None
    else:
        assert found is not None
        assert {k: v for k, v in plain(found).items() if k != "last_timestamp"} == plain(expected)


def test_missing_ticks_are_a_gap_only_where_a_bar_said_what_comes_next() -> None:
    block = tape()
    (*_, last) = bars_until(3000)
    forming = FormingBars()
    forming.add("1minute")
    assert forming.take(block.slice(2000, 2500)) == (set(), False)
    forming.closed(last)
    changed, gap = forming.take(block.slice(last.last_index + 5, last.last_index + 20))
    assert gap and not changed
    changed, gap = forming.take(block.slice(last.last_index - 50, last.last_index + 20))
    assert changed == {("1minute", "IBM.N")} and not gap
    end = Watermark("IBM.N", END_OF_TIME, last.last_index + 20)
    assert forming.take(end) == ({("1minute", "IBM.N")}, False)
    assert forming.row(("1minute", "IBM.N")) is None


class Pipe:
    """Takes a slow client's messages one at a time, when it is allowed to."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.may = asyncio.Semaphore(0)

    async def send(self, text: str) -> None:
        await self.may.acquire()
        self.got.append(json.loads(text))


async def test_a_slow_client_is_told_how_much_was_merged_and_ends_with_the_whole_picture() -> None:
    channel, client, pipe, state, lags = Channel("e"), Client(queued=4), Pipe(), [], []
    task = asyncio.create_task(
        client.send_all(channel, (None, None), lambda: {"bars": list(state)}, pipe.send, lambda: lags.append(1))
    )
    await asyncio.sleep(0)

    def publish(count: int) -> None:
        for _ in range(count):
            state.append(len(state))
            channel.publish("bar", bar=state[-1])

    pipe.may.release()
    publish(3)
    await asyncio.sleep(0.01)
    publish(10)
    for _ in range(20):
        pipe.may.release()
    await asyncio.sleep(0.05)
    publish(1)
    await asyncio.sleep(0.05)
    task.cancel()
    kinds = [message["type"] for message in pipe.got]
    assert kinds == ["hello", "snapshot", "lagged", "snapshot", "bar"]
    lagged, snapshot, last = pipe.got[2:]
    assert lagged["missed"] == 13 and snapshot["bars"] == list(range(13)) and snapshot["seq"] == 13
    assert last == {"seq": 14, "type": "bar", "bar": 13} and lags == [1]


async def test_open_bars_are_merged_and_never_shown_after_their_bar_closed() -> None:
    channel, client, pipe = Channel("e"), Client(), Pipe()
    task = asyncio.create_task(client.send_all(channel, (None, None), dict, pipe.send, lambda: None))
    pipe.may = asyncio.Semaphore(10_000)
    await asyncio.sleep(0.01)
    bar = bars_until(3000)[0]
    begin = time.monotonic()
    while time.monotonic() - begin < 0.5:
        channel.forming(Forming(**msgspec.structs.asdict(bar), last_timestamp=""))
        await asyncio.sleep(0.001)
    channel.forming(Forming(**msgspec.structs.asdict(bar), last_timestamp=""))
    channel.publish("bar", bar=bar)
    elapsed = time.monotonic() - begin
    await asyncio.sleep(0.1)
    task.cancel()
    kinds = [message["type"] for message in pipe.got][2:]
    assert kinds[-1] == "bar" and set(kinds[:-1]) == {"forming"}
    assert 2 <= len(kinds) - 1 <= elapsed * 20 + 1


@pytest.mark.kafka
def test_a_server_that_ends_sends_its_clients_away_to_come_again(server: Server) -> None:
    server.ticks("ends", tape().slice(0, 3000))
    server.bars("ends", bars_until(3000))
    with listening("127.0.0.1", 0) as listener, ExitStack() as clients:
        with serving(Services(server.services.config, server.services.stores), listener) as url:
            socket = clients.enter_context(Server(url, server.services).live("ends"))
            assert until(socket, "snapshot")["bars"]
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                receive(socket)
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 1012
    assert not [thread.name for thread in threading.enumerate() if thread.name == "live ends/tape"]
