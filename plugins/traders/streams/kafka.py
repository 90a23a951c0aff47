"""Trades of any Kafka topic, JSON or Avro: which field is which, and how to get in.

This file is yours to edit. It reads on where it stopped, by offsets: a restart loses and repeats nothing.

Parameters
----------
bootstrap : text
    Bootstrap servers, such as kafka.example.com:9092
topic : text
    Topic to read.
fields : mapping
    Field of a tick → path in the message, such as {"symbol": "@key", "timestamp": "ts", "Price": "trade.px",
    "Volume": "trade.qty"}; @key, @timestamp (ms) and @headers.name are those of the Kafka message, a path with / before
    it starts at the whole message, a text in single quotes is taken as it stands.
time_unit : [ns, us, ms, s, iso], default ms
    What timestamps are counted in.
ticks : text, optional
    Path to the list of trades in a message; without it, each message is a trade.
only : mapping, optional
    Path → text: other messages are passed over.
numbering : [increasing, contiguous], optional
    What the field Seq. No. (or sequence) tells of a symbol's trades: contiguous numbers show what the sender repeated
    or left out, increasing ones what it repeated. Without it, offsets tell what was read before, and nothing of the
    sender. If the numbers begin anew, each day say, map a field channel to what tells the days apart.
format : [json, avro], default json
    What messages are.
schema : text, optional
    Avro schema as JSON.
framed : boolean, default false
    Whether Avro messages begin with the five bytes of a schema registry.
start : text, default latest
    Where a new stream begins: latest, earliest, or an ISO time with zone.
security : [plaintext, ssl, sasl_plaintext, sasl_ssl], default plaintext
    Protocol of the cluster.
mechanism : [PLAIN, SCRAM-SHA-256, SCRAM-SHA-512], default PLAIN
    How SASL knows you.
username : text, optional
password : secret, optional
    env:NAME takes it from the environment.
ca : text, optional
    File of the certificate authority.
options : mapping, optional
    Further settings of librdkafka.
grace : number >= 0, default 1
    Seconds that a trade may be under way before the clock closes its bar.
"""

import io
import json

from lit.plugins.traders.fields import Fields
from lit.plugins.traders.kafka_source import KafkaSource
from lit.plugins.traders.stream import UserError

SEQUENCE = "increasing"
RESUMES = True
COLUMNS = {}  # own columns → text, number or integer, as in {"side": "text"}; `fields` says where they are


async def stream(feed):
    """Read the topic and yield the ticks of each message."""
    given = feed.parameters
    fields = Fields(given["fields"], given["time_unit"], given["ticks"] or "", given["only"], COLUMNS)
    parse = parser(given)
    source = KafkaSource(feed, config(given), given["topic"], given["start"])
    async for messages in source.batches():
        for message in messages:
            try:
                found = list(fields.ticks(whole(message, parse(message.value()))))
            except (ValueError, TypeError, EOFError, IndexError, KeyError) as error:
                feed.reject(message.value(), f"unreadable: {type(error).__name__} {error}")
                continue
            if not given["numbering"]:
                number_by_offset(message, found)
            elif any(tick.get("sequence", tick.get("Seq. No.")) is None for tick in found):
                feed.reject(message.value(), "no number: map a field Seq. No. or sequence")
                continue
            yield found


def number_by_offset(message, ticks):
    """Number the ticks of a message; it may hold several."""
    base = message.offset() * 1_000_000
    for place, tick in enumerate(ticks):
        tick |= {"sequence": base + place, "channel": str(message.partition())}


def whole(message, value):
    """Return a message's value with what Kafka says of it."""
    headers = {name: (text or b"").decode(errors="replace") for name, text in message.headers() or ()}
    key = (message.key() or b"").decode(errors="replace")
    added = {"@key": key, "@timestamp": message.timestamp()[1], "@headers": headers}
    return {**value, **added} if isinstance(value, dict) else {"value": value, **added}


def parser(given):
    """Return what turns bytes into plain Python."""
    if given["format"] == "json":
        return json.loads
    import fastavro

    if not given["schema"]:
        raise UserError("format avro needs a schema")
    try:
        schema = fastavro.parse_schema(json.loads(given["schema"]))
    except (ValueError, fastavro.schema.SchemaParseException) as error:
        raise UserError(f"schema is no Avro schema: {error}") from None
    skip = 5 if given["framed"] else 0
    return lambda value: fastavro.schemaless_reader(io.BytesIO(value[skip:]), schema, None)


def config(given):
    """Return librdkafka's settings."""
    settings = {"bootstrap.servers": given["bootstrap"], "security.protocol": given["security"]}
    if given["security"].startswith("sasl"):
        settings |= {"sasl.mechanism": given["mechanism"], "sasl.username": given["username"] or ""}
        settings["sasl.password"] = given["password"] or ""
    if given["ca"]:
        settings["ssl.ca.location"] = given["ca"]
    return {**settings, **(given["options"] or {})}
