"""Trades of any WebSocket that sends JSON: its address, what to subscribe to, and which field is which.

This file is yours to edit. Where a text says {token}, the token is put in, so that it stands in no other parameter.

Parameters
----------
url : text
    Address, such as wss://stream.example.com/v1?key={token}
fields : mapping
    Field of a tick → path in the message, such as {"symbol": "s", "timestamp": "T", "Price": "p", "Volume": "q"};
    a path with / before it starts at the whole message, a text in single quotes is taken as it stands.
time_unit : [ns, us, ms, s, iso], default ms
    What timestamps are counted in.
ticks : text, optional
    Path to the list of trades in a message; without it, each message is a trade.
only : mapping, optional
    Path → text: other messages are passed over, as in {"e": "trade"}
subscribe : text, optional
    Message to send after connecting, or a JSON array of several.
token : secret, optional
    What the provider knows you by; env:NAME takes it from the environment.
headers : mapping, optional
    HTTP headers of the connection, such as {"Authorization": "Bearer {token}"}
refused : text, optional
    Text in a message by which the provider refuses access for good, such as "auth failed"
numbering : [none, increasing, contiguous], default none
    What the field Seq. No. (or sequence) tells: contiguous numbers show repeats and gaps, increasing ones repeats. If
    the provider begins anew, each day say, map a field channel to what tells the days apart.
ping : text, optional
    Message that keeps the connection up; WebSocket's own pings are sent anyway.
ping_seconds : number > 0, default 15
    How often it is sent.
heartbeat : number > 0, optional
    Seconds without any message after which the connection is given up, for providers that send heartbeats. A
    connection that is dead is noticed by WebSocket's own pings in any case.
grace : number >= 0, default 1
    Seconds that a trade may be under way before the clock closes its bar.
"""

import asyncio
import contextlib
import json

import websockets

from lit.plugins.traders.fields import Fields
from lit.plugins.traders.stream import UserError

COLUMNS = {}  # own columns → text, number or integer, as in {"side": "text"}; `fields` says where they are


async def stream(feed):
    """Connect once and yield the ticks of each message."""
    given = feed.parameters
    fields = Fields(given["fields"], given["time_unit"], given["ticks"] or "", given["only"], COLUMNS)

    def filled(text):
        return text.replace("{token}", given["token"] or "")

    headers = {name: filled(text) for name, text in (given["headers"] or {}).items()}
    try:
        async with websockets.connect(filled(given["url"]), additional_headers=headers, max_size=2**24) as socket:
            for message in messages(filled(given["subscribe"] or "")):
                await socket.send(message)
            feed.connected()
            async with keeping_up(socket, filled(given["ping"] or ""), given["ping_seconds"]):
                async for text in socket:
                    feed.alive()
                    if given["refused"] and given["refused"] in str(text):
                        raise UserError(f"{given['url']} refuses access: {text[:300]}")
                    try:
                        ticks = list(fields.ticks(json.loads(text)))
                    except (ValueError, TypeError) as error:
                        feed.reject(text, f"unreadable: {error}")
                        continue
                    yield ticks
    except websockets.InvalidURI as error:
        raise UserError(
            f"url {given['url']!r} is no address of a WebSocket, such as wss://stream.example.com"
        ) from error
    except websockets.InvalidStatus as error:
        if error.response.status_code in (401, 403):
            raise UserError(
                f"{given['url']} refuses access (HTTP {error.response.status_code}): check the token"
            ) from error
        raise
    except websockets.ConnectionClosedError as error:
        if error.rcvd is not None and error.rcvd.code == 1008:
            raise UserError(f"{given['url']} refuses access: {error.rcvd.reason or 'policy violation'}") from error
        raise
    raise ConnectionError("the server closed the connection")


def messages(text):
    """Return the messages to send: a JSON array holds several."""
    if not text.strip():
        return []
    try:
        parsed = json.loads(text)
    except ValueError:
        return [text]
    return [one if isinstance(one, str) else json.dumps(one) for one in parsed] if isinstance(parsed, list) else [text]


@contextlib.asynccontextmanager
async def keeping_up(socket, text, seconds):
    """Send a message every so often while the block runs."""

    async def send():
        while text:
            await asyncio.sleep(seconds)
            await socket.send(text)

    task = asyncio.create_task(send())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, websockets.ConnectionClosed):
            await task
