"""The kafka and nasdaq adapters: a real broker, with SASL/OAUTHBEARER and a token endpoint for Nasdaq's service."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import fastavro
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from lit.streams import topics
from lit.streams.broker import EmbeddedBroker, free_port
from lit.streams.clients import producer
from lit.streams.errors import UserError
from lit.streams.workspace import Workspace
from tests.feeds import add_stream, blocks, gaps, numbers, recorded, running, until

pytestmark = pytest.mark.kafka
TEAM = "brokers"
FIELDS = {"symbol": "@key", "timestamp": "ts", "Price": "px.last", "Volume": "qty", "Seq. No.": "n"}


def send(kafka: str, topic: str, *messages: tuple[bytes, bytes], stamp: int = 0) -> None:
    out = producer(kafka)
    for key, value in messages:
        out.produce(topic, key=key, value=value, partition=0, timestamp=stamp or int(time.time() * 1000))
    assert out.flush(20) == 0


def trade(number: int) -> tuple[bytes, bytes]:
    value = {"ts": int(time.time() * 1000), "px": {"last": 10.5}, "qty": 2, "n": number}
    return b"AAA" if number % 2 else b"BBB", json.dumps(value).encode()


async def test_a_topic_is_read_on_from_its_offsets_without_loss_or_repeat(kafka: str, tmp_path: Path) -> None:
    workspace, topic = Workspace(tmp_path, TEAM), "foreign.trades"
    topics.create_topics(kafka, topics.Topic(topic, partitions=2))
    add_stream(workspace, "k", "kafka", bootstrap=kafka, topic=topic, fields=FIELDS, start="earliest")
    send(kafka, topic, *(trade(number) for number in range(50)), (b"AAA", b"no json"))
    async with running(workspace, "k", kafka) as task:
        await until(workspace, "k", lambda health: health.ticks == 50 and bool(health.rejects), task)
        await asyncio.sleep(2.5)  # the position is kept
        await asyncio.to_thread(send, kafka, topic, *(trade(number) for number in range(50, 80)))
        await until(workspace, "k", lambda health: health.ticks == 80, task)
    # the position is older than what was sent: what is read again is known
    send(kafka, topic, *(trade(number) for number in range(80, 100)))
    async with running(workspace, "k", kafka) as task:
        health = await until(workspace, "k", lambda health: health.state == "live" and health.ticks == 20, task)
    assert health.gaps == 0
    found = recorded(kafka, TEAM, "k")
    assert numbers(found["AAA"]) == list(range(1, 100, 2)) and numbers(found["BBB"]) == list(range(0, 100, 2))


async def test_numbers_of_the_sender_tell_what_it_repeated_or_left_out(kafka: str, tmp_path: Path) -> None:
    workspace, topic = Workspace(tmp_path, TEAM), "foreign.numbered"
    topics.create_topics(kafka, topics.Topic(topic, partitions=1))
    given = {"bootstrap": kafka, "topic": topic, "fields": FIELDS, "start": "earliest", "numbering": "contiguous"}
    add_stream(workspace, "counted", "kafka", **given)

    def sent(*numbers: int | None) -> list[tuple[bytes, bytes]]:
        stamp = time.time_ns() // 1_000_000
        rows = [{"ts": stamp, "px": {"last": 10.5}, "qty": 2} | ({} if n is None else {"n": n}) for n in numbers]
        return [(b"AAA", json.dumps(row).encode()) for row in rows]

    send(kafka, topic, *sent(1, 2, 2, 4, 3, None, 5, 9))
    async with running(workspace, "counted", kafka) as task:
        health = await until(workspace, "counted", lambda health: health.ticks == 6 and health.gaps == 1, task)
        assert health.repeats == 1 and sum(health.rejects.values()) == 1
    send(kafka, topic, *sent(9, 10))
    async with running(workspace, "counted", kafka) as task:
        await until(workspace, "counted", lambda health: health.ticks == 1, task)
    items = recorded(kafka, TEAM, "counted")["AAA"]
    assert numbers(items) == [1, 2, 4, 3, 5, 9, 10] and [gap.missed for gap in gaps(items)] == [3]


async def test_avro_is_read_and_a_topic_that_is_not_there_is_told(kafka: str, tmp_path: Path) -> None:
    workspace, topic = Workspace(tmp_path, TEAM), "foreign.avro"
    topics.create_topics(kafka, topics.Topic(topic, partitions=1))
    kinds = {"s": "string", "ts": "long", "px": "double", "qty": "int"}
    schema = {"type": "record", "name": "T", "fields": [{"name": name, "type": kind} for name, kind in kinds.items()]}
    out = io.BytesIO()
    row = {"s": "ZZZ", "ts": time.time_ns(), "px": 1.25, "qty": 7}
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), row)
    fields = {"symbol": "s", "timestamp": "ts", "Price": "px", "Volume": "qty"}
    given = {"bootstrap": kafka, "fields": fields, "time_unit": "ns", "format": "avro", "start": "earliest"}
    add_stream(workspace, "avro", "kafka", topic=topic, schema=json.dumps(schema), framed=True, **given)
    send(kafka, topic, (b"", b"\0\0\0\0\1" + out.getvalue()))
    async with running(workspace, "avro", kafka) as task:
        await until(workspace, "avro", lambda health: health.ticks == 1, task)
    (block,) = blocks(recorded(kafka, TEAM, "avro")["ZZZ"])
    assert block.timestamp[0] == row["ts"] and block.price[0] == 1.25
    add_stream(workspace, "absent", "kafka", topic="not.there", **{**given, "format": "json"})
    with pytest.raises(UserError, match=r"not\.there"):
        async with running(workspace, "absent", kafka) as task:
            await task


class SaslBroker(EmbeddedBroker):
    """A broker with a second listener that wants a bearer token (an unsigned one will do)."""

    def __init__(self, data: Path) -> None:
        super().__init__(data)
        self.address = f"127.0.0.1:{free_port()}"

    def _write_config(self, bootstrap: str) -> Path:
        config = super()._write_config(bootstrap)
        lines = []
        for line in config.read_text().splitlines():
            if line.startswith(("listeners=", "advertised.listeners=")):
                line += f",SASL_PLAINTEXT://{self.address}"
            lines.append(line)
        module = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;"
        lines += [
            "sasl.enabled.mechanisms=OAUTHBEARER",
            "inter.broker.listener.name=PLAINTEXT",
            "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT",
            f"listener.name.sasl_plaintext.oauthbearer.sasl.jaas.config={module}",
        ]
        config.write_text("\n".join(lines) + "\n")
        return config


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, SaslBroker]]:
    """Yield Nasdaq's plain address (to publish at) and its broker."""
    broker = SaslBroker(tmp_path_factory.mktemp("nasdaq"))
    try:
        yield broker.start(), broker
    finally:
        broker.stop()


@contextlib.contextmanager
def token_endpoint() -> Iterator[tuple[str, list[int]]]:
    """Serve OAuth client credentials; yields its address and the statuses that it answered."""
    answered: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            basic = base64.b64decode(self.headers["Authorization"].removeprefix("Basic ")).decode()
            good = basic == "me:right" and b"grant_type=client_credentials" in body
            answered.append(200 if good else 401)
            self.send_response(answered[-1])
            self.end_headers()
            claims = {"sub": "me", "iat": int(time.time()), "exp": int(time.time()) + 600}
            parts = [base64.urlsafe_b64encode(json.dumps(part).encode()) for part in ({"alg": "none"}, claims)]
            token = b".".join(part.rstrip(b"=") for part in parts).decode() + "."
            self.wfile.write(json.dumps({"access_token": token, "expires_in": 600}).encode() if good else b"{}")

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/token", answered
    finally:
        server.shutdown()
        server.server_close()


def record(title: str, /, **kinds: str) -> dict[str, Any]:
    fields = [{"name": key, "type": kind} for key, kind in kinds.items()]
    return {"type": "record", "name": title, "namespace": "com.nasdaq.test", "fields": fields}


COMMON = {"SoupPartition": "int", "SoupSequence": "long", "trackingID": "long", "msgType": "string"}
REPORT = {
    **COMMON, "marketCenter": "string", "symbol": "string", "securityClass": "string", "controlNumber": "string",
    "price": "int", "size": "int", "saleCondition": "string", "cosolidatedVolume": "long",
}  # fmt: skip
PRODUCT = [record("SeqSystemEventMessage", **COMMON, event="string"), record("SeqTradeReportMessage", **REPORT)]
INITIATED = record(
    "StreamInitiated", name="string", uuid="string", referenceDate="string", soupPartition="int", timestamp="long",
    schema="string",
)  # fmt: skip
CONTROL = [record("Heartbeat", timestamp="long"), INITIATED]


def avro(schema: Any, title: str, /, **values: Any) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), (f"com.nasdaq.test.{title}", values))
    return out.getvalue()


def report(sequence: int, since_midnight: int) -> bytes:
    return avro(
        PRODUCT, "SeqTradeReportMessage", SoupPartition=0, SoupSequence=sequence, trackingID=since_midnight,
        msgType="T", marketCenter="L", symbol="SIVR    ", securityClass="P", controlNumber="1", price=164_797, size=3,
        saleCondition="@  o", cosolidatedVolume=9,
    )  # fmt: skip


async def test_a_cluster_that_refuses_access_is_told_once(
    kafka: str, tmp_path: Path, service: tuple[str, SaslBroker]
) -> None:
    workspace = Workspace(tmp_path, TEAM)
    given = {"topic": "any", "fields": FIELDS, "username": "me", "password": "s3cret"}
    bootstrap = service[1].address  # it takes bearer tokens alone
    add_stream(workspace, "plain", "kafka", bootstrap=bootstrap, security="sasl_plaintext", **given)
    with pytest.raises(UserError, match="refuses access") as refused:
        async with running(workspace, "plain", kafka) as task:
            await task
    assert "s3cret" not in str(refused.value)


async def test_a_broker_that_goes_away_is_read_on_where_it_was(
    kafka: str, tmp_path: Path, service: tuple[str, SaslBroker]
) -> None:
    workspace, broker = Workspace(tmp_path, TEAM), service[1]
    plain = broker.start()
    topics.create_topics(plain, topics.Topic("lost.trades", partitions=1))
    send(plain, "lost.trades", *(trade(number) for number in range(10)))
    token = {"sasl.mechanism": "OAUTHBEARER", "enable.sasl.oauthbearer.unsecure.jwt": "true"}
    options = {**token, "sasl.oauthbearer.config": "principal=me"}
    given = {"topic": "lost.trades", "fields": FIELDS, "start": "earliest", "security": "sasl_plaintext"}
    add_stream(workspace, "lost", "kafka", bootstrap=broker.address, options=options, **given)
    async with running(workspace, "lost", kafka) as task:
        await until(workspace, "lost", lambda health: health.ticks == 10, task)
        await asyncio.to_thread(broker.stop)
        await until(workspace, "lost", lambda health: health.reconnects > 0, task)
        plain = await asyncio.to_thread(broker.start)
        old = json.dumps({"ts": 1_381_154_400_000, "px": {"last": 10.5}, "qty": 2, "n": 11}).encode()
        await asyncio.to_thread(send, plain, "lost.trades", trade(10), (b"AAA", old))
        health = await until(workspace, "lost", lambda health: health.ticks == 12, task)
    found = recorded(kafka, TEAM, "lost")
    assert numbers(found["BBB"]) == [0, 2, 4, 6, 8, 10] and numbers(found["AAA"]) == [1, 3, 5, 7, 9, 11]
    assert health.gaps == 0 and health.out_of_order == 1 and not health.rejects


async def test_what_a_topic_no_longer_holds_is_a_gap(kafka: str, tmp_path: Path) -> None:
    workspace, topic = Workspace(tmp_path, TEAM), "foreign.short"
    topics.create_topics(kafka, topics.Topic(topic, partitions=1))
    add_stream(workspace, "short", "kafka", bootstrap=kafka, topic=topic, fields=FIELDS, start="earliest")
    send(kafka, topic, *(trade(number) for number in range(30)))
    async with running(workspace, "short", kafka) as task:
        await until(workspace, "short", lambda health: '"0":30' in (health.position or ""), task)
    send(kafka, topic, *(trade(number) for number in range(30, 50)))
    admin = AdminClient({"bootstrap.servers": kafka})
    deleted = admin.delete_records([TopicPartition(topic, 0, 40)])
    assert all(future.result(20).low_watermark == 40 for future in deleted.values())
    async with running(workspace, "short", kafka) as task:
        await until(workspace, "short", lambda health: health.gaps == 2 and health.ticks == 10, task)
    found = recorded(kafka, TEAM, "short")
    assert numbers(found["AAA"]) == [*range(1, 30, 2), *range(41, 50, 2)]
    assert [(gap.reason, gap.missed) for gap in gaps(found["AAA"])] == [("retention", None)]


async def test_nasdaqs_service_is_read_with_its_token_schema_and_numbers(
    kafka: str, tmp_path: Path, service: tuple[str, SaslBroker]
) -> None:
    broker = service[1]
    plain, workspace = broker.start(), Workspace(tmp_path, TEAM)
    topics.create_topics(plain, topics.Topic("control", partitions=1), topics.Topic("NLSUTP.stream", partitions=1))
    schema = json.dumps(PRODUCT)
    begun = {"uuid": "u", "referenceDate": "d", "soupPartition": 0, "timestamp": 1, "schema": schema}
    send(plain, "control", (b"c", avro(CONTROL, "StreamInitiated", name="NLSUTP", **begun)))
    send(plain, "control", (b"c", avro(CONTROL, "Heartbeat", timestamp=2)))
    now = datetime.now(UTC)
    midnight = now.astimezone(ZoneInfo("America/New_York")).replace(hour=0, minute=0, second=0, microsecond=0)
    place = int((now - midnight).total_seconds() * 1e9)
    common = {"SoupPartition": 0, "SoupSequence": 2, "trackingID": 1, "msgType": "S"}
    event = avro(PRODUCT, "SeqSystemEventMessage", **common, event="E")
    messages = [(b"1", report(1, place)), (b"2", event), (b"3", report(3, place + 1)), (b"7", report(7, place + 2))]
    messages += [(b"3", report(3, place + 1)), (b"5", report(5, place + 1)), (b"7", report(7, place + 2))]
    send(plain, "NLSUTP.stream", *messages)
    with token_endpoint() as (url, answered):
        given = {"bootstrap": broker.address, "token_url": url, "client_id": "me", "security": "sasl_plaintext"}
        add_stream(workspace, "nasdaq", "nasdaq", client_secret="right", start="earliest", **given)
        add_stream(workspace, "wrong", "nasdaq", client_secret="left-out", **given)
        add_stream(workspace, "none", "nasdaq", client_secret="right", product="TOTALVIEW", **given)
        async with running(workspace, "nasdaq", kafka) as task:
            await until(workspace, "nasdaq", lambda health: health.ticks == 4 and health.repeats == 2, task)
            await asyncio.to_thread(broker.stop)
            await until(workspace, "nasdaq", lambda health: health.reconnects > 0, task)
            plain = await asyncio.to_thread(broker.start)
            await asyncio.to_thread(send, plain, "NLSUTP.stream", (b"8", report(8, place + 3)))
            health = await until(workspace, "nasdaq", lambda health: health.ticks == 5, task)
        before = len(answered)
        for name, expected in (("wrong", "HTTP 401"), ("none", "TOTALVIEW.*NLSUTP")):
            with pytest.raises(UserError, match=expected) as refused:
                async with running(workspace, name, kafka) as task:
                    await task
            assert "left-out" not in str(refused.value)
        assert answered[before:].count(401) == 1
    items = recorded(kafka, TEAM, "nasdaq")["SIVR"]
    assert numbers(items) == [1, 3, 7, 5, 8] and health.gaps == 1 and len(gaps(items)) == 1
    (block, *_) = blocks(items)
    assert block.price[0] == 16.4797 and block.timestamp[0] == int(midnight.timestamp()) * 10**9 + place
    assert block.batch.column("marketCenter").to_pylist()[0] == "L"
