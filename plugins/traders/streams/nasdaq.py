"""Trades of Nasdaq Data Link's streaming service (NLS Plus): Kafka with OAuth client credentials and Avro.

This file is yours to edit. Nasdaq gives you bootstrap servers, a token endpoint, an id with its secret, and the names
of the products that you may read. Schemas are read from the service's own control topic. Trade reports become ticks;
cancels and corrections are passed over, for they change nothing that was seen live.

Parameters
----------
bootstrap : text
    Bootstrap servers, given by Nasdaq.
token_url : text
    Token endpoint, given by Nasdaq (https://…/openid-connect/token).
client_id : text
    Your id.
client_secret : secret
    env:NAME takes it from the environment.
product : text, default NLSUTP
    What to read; its topic is the product with .stream behind it.
symbols : texts, optional
    Which symbols; without it, all.
start : text, default latest
    Where a new stream begins: latest, earliest, or an ISO time with zone.
security : [sasl_ssl, sasl_plaintext], default sasl_ssl
    sasl_plaintext is for a local test.
grace : number >= 0, default 1
    Seconds that a trade may be under way before the clock closes its bar.
"""

import asyncio
import io
import json
import time
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import httpx

from lit.plugins.traders.kafka_source import KafkaSource
from lit.plugins.traders.stream import UserError

SEQUENCE = "increasing"
RESUMES = True
EXCHANGE = "XNYS"
COLUMNS = {"marketCenter": "text"}

TRADES = ("SeqTradeReportMessage", "SeqTradeReportLongMessage", "SeqTradeReportETMFMessage")
PRICE_DECIMALS = 10_000
#: More than the messages of a day.
DAY = 10**10
NEW_YORK = ZoneInfo("America/New_York")
#: How long the control topic may be silent before it counts as read.
CONTROL_SECONDS = 3.0


async def stream(feed):
    """Read the product's topic and yield its trade reports."""
    given = feed.parameters
    tokens = Tokens(given["token_url"], given["client_id"], given["client_secret"])
    await asyncio.to_thread(tokens, "")  # refused credentials are told before anything else is tried
    settings = {
        "bootstrap.servers": given["bootstrap"],
        "security.protocol": given["security"],
        "sasl.mechanism": "OAUTHBEARER",
        "oauth_cb": tokens,
    }
    read = reader(await asyncio.to_thread(control_schema, settings, given["product"]))
    wanted = set(given["symbols"] or ())
    last = dict((feed.position or {}).get("last", {}))
    source = KafkaSource(feed, settings, f"{given['product']}.stream", given["start"])
    async for messages in source.batches(lambda: {"last": dict(last)}):
        ticks = []
        for message in messages:
            try:
                name, body = read(message.value())
            except (ValueError, EOFError, IndexError, KeyError) as error:
                feed.reject(message.value(), f"unreadable: {type(error).__name__} {error}")
                continue
            published = new_york(message)
            number = numbered(published, body)
            if number is not None and missed(last, str(body["SoupPartition"]), number):
                yield ticks
                ticks = []
                feed.gap("sequence", None, None)
                source.due = True  # what was read again later would tell it again
            if name in TRADES and (not wanted or body["symbol"].strip() in wanted):
                ticks.append(tick(published, number, body))
        yield ticks


class Tokens:
    """Fetches access tokens, as confluent-kafka asks for them."""

    def __init__(self, url, client_id, secret):
        self._url, self._id, self._secret = url, client_id, secret

    def __call__(self, _config):
        """Return (token, when it expires in s since the epoch)."""
        try:
            answer = httpx.post(
                self._url,
                data={"grant_type": "client_credentials"},
                auth=(self._id, self._secret),
                timeout=15,
                trust_env=False,
            )
        except httpx.HTTPError as error:
            raise ConnectionError(f"the token endpoint {self._url} does not answer: {error}") from error
        if answer.status_code in (400, 401, 403):
            raise UserError(
                f"the token endpoint {self._url} refuses client {self._id!r} (HTTP {answer.status_code}): "
                "check client_id and client_secret"
            )
        if answer.status_code != 200:
            raise ConnectionError(f"the token endpoint {self._url} answers HTTP {answer.status_code}")
        body = answer.json()
        return body["access_token"], time.time() + float(body.get("expires_in", 300))


CONTROL = [
    {"type": "record", "name": "Heartbeat", "fields": [{"name": "timestamp", "type": "long"}]},
    {
        "type": "record",
        "name": "StreamInitiated",
        "fields": [
            {"name": "name", "type": "string"},
            {"name": "uuid", "type": "string"},
            {"name": "referenceDate", "type": "string"},
            {"name": "soupPartition", "type": "int"},
            {"name": "timestamp", "type": "long"},
            {"name": "schema", "type": "string"},
        ],
    },
    {
        "type": "record",
        "name": "StreamCompleted",
        "fields": [
            {"name": "uuid", "type": "string"},
            {"name": "timestamp", "type": "long"},
            {"name": "finalSequenceNumber", "type": "long"},
        ],
    },
    {
        "type": "record",
        "name": "StreamResumed",
        "fields": [
            {"name": "uuid", "type": "string"},
            {"name": "timestamp", "type": "long"},
            {"name": "resumeSequenceNumber", "type": "long"},
        ],
    },
    {"type": "record", "name": "StreamDeleted", "fields": [{"name": "uuid", "type": "string"}]},
]


def control_schema(settings, product):
    """Return the newest schema of a product from the control topic."""
    from confluent_kafka import Consumer, KafkaException, TopicPartition

    read, found, names = reader(CONTROL), None, set()
    consumer = Consumer({**settings, "group.id": "lit", "enable.auto.commit": False, "log_level": 0})
    try:
        consumer.assign([TopicPartition("control", 0, 0)])
        silent = time.monotonic() + 10
        while time.monotonic() < silent:
            message = consumer.poll(0.2)
            if message is None:
                continue
            if message.error():
                raise KafkaException(message.error())
            silent = time.monotonic() + CONTROL_SECONDS
            _, body = read(message.value())
            names.add(body.get("name"))
            if body.get("name") == product and body.get("schema"):
                found = body["schema"]
            if message.offset() + 1 >= consumer.get_watermark_offsets(TopicPartition("control", 0), cached=True)[1]:
                break
    except KafkaException as error:
        raise ConnectionError(error.args[0].str()) from error
    finally:
        consumer.close()
    if found is None and not names:
        raise ConnectionError("the control topic gave no answer")
    if found is None:
        known = ", ".join(sorted(filter(None, names)))
        raise UserError(f"there is no product {product!r} among those that you may read: {known}")
    return json.loads(found)


def reader(schema):
    """Return what turns bytes into (record name, fields)."""
    import fastavro

    parsed = fastavro.parse_schema(schema)

    def read(value):
        found = fastavro.schemaless_reader(io.BytesIO(value), parsed, None, return_record_name=True)
        name, body = found if isinstance(found, tuple) else (parsed["name"], found)
        return name.rpartition(".")[2], body

    return read


def numbered(published, body):
    """Return a message's number, if it has one: the service counts all of a partition's messages, each day anew."""
    sequence = body.get("SoupSequence")
    return None if sequence is None else published.toordinal() * DAY + sequence


def missed(last, partition, number):
    """Return how many messages of the same day are missing before this one."""
    before = last.get(partition, 0)
    last[partition] = max(before, number)
    return max(0, number - before - 1) if before // DAY == number // DAY else 0


def new_york(message):
    """Return when a message was published, by New York's clock."""
    return datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC).astimezone(NEW_YORK)


def tick(published, number, body):
    """Turn a trade report into a tick; its time is ns since midnight of New York, on the day that it was published."""
    midnight = int(published.replace(hour=0, minute=0, second=0, microsecond=0).timestamp())
    return {
        "symbol": body["symbol"].strip(),
        "timestamp": midnight * 1_000_000_000 + body["trackingID"],
        "Price": body["price"] / PRICE_DECIMALS,
        "Volume": float(body["size"]),
        "Seq. No.": body["SoupSequence"],
        "Qualifiers": body["saleCondition"],
        "marketCenter": body["marketCenter"],
        "sequence": number,
        "channel": str(body["SoupPartition"]),
    }
