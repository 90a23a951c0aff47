"""The tick store of another process, over its HTTP: blocks travel as the messages that Kafka carries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import httpx
import msgspec

from lit.streams.codec import Encoded, decode, encode
from lit.streams.errors import FaultError, UserError
from lit.streams.store import StoredSegment
from lit.streams.store_http_ranges import HttpRanges
from lit.streams.tick import TickBlock
from lit.streams.workspace import checked_name

#: An insert of half a million rows on a busy machine.
TIMEOUT = 120.0


class Parcel(msgspec.Struct, array_like=True, frozen=True):
    """One block as an encoded message, at its offset."""

    offset: int
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


def pack(blocks: Sequence[tuple[int, TickBlock]]) -> Iterator[bytes]:
    """Yield the parts of a body (MessagePack of Arrow IPC) that holds the blocks; a part is made when it is sent."""
    yield b"\xdd" + len(blocks).to_bytes(4, "big")  # the head of an array of so many
    for offset, block in blocks:
        message: Encoded = encode(block)
        yield msgspec.msgpack.encode(Parcel(offset, message.key, message.value, message.headers))


def unpack(body: bytes) -> list[tuple[int, TickBlock]]:
    """Return the blocks of a body.

    Raises
    ------
    ValueError
        If it is not what `pack` makes.
    """
    blocks = []
    for parcel in msgspec.msgpack.decode(body, type=list[Parcel]):
        item = decode(parcel.key, parcel.value, parcel.headers)
        if not isinstance(item, TickBlock):
            raise ValueError("a watermark is not stored")
        blocks.append((parcel.offset, item))
    return blocks


class HttpStore:
    """Ticks of one team behind the API server (a `TickStore`)."""

    def __init__(self, client: httpx.Client, team: str) -> None:
        self._client = client
        self._base = f"/api/internal/store/{checked_name(team, 'team')}"
        self.ranges = HttpRanges(lambda body: self._ask("POST", "ranges", body).content)

    def insert(self, source: str, partition: int, blocks: Sequence[tuple[int, TickBlock]]) -> None:
        """Store messages."""
        self._ask("POST", "insert", pack(blocks), source=source, partition=partition)

    def applied(self, source: str) -> Mapping[int, int]:
        """Return partition → greatest stored offset."""
        return {int(partition): offset for partition, offset in self._json("applied", source=source).items()}

    def segments(self, source: str, origin: str = "") -> list[StoredSegment]:
        """Return what is stored of an origin, by symbol."""
        found = self._ask("GET", "segments", source=source, origin=origin).content
        return msgspec.json.decode(found, type=list[StoredSegment])

    def count(self, source: str, origin: str | None = None) -> int:
        """Return the number of ticks."""
        return int(self._json("count", source=source, origin=origin))

    def window(self, source: str, symbol: str, first: int, last: int, origin: str = "") -> TickBlock:
        """Return ticks first…last−1."""
        body = self._ask("GET", "window", source=source, symbol=symbol, first=first, last=last, origin=origin).content
        return unpack(body)[0][1]

    def packet(self, source: str, symbol: str, index: int, origin: str = "") -> dict[str, Any]:
        """Return one tick."""
        block = self.window(source, symbol, index, index + 1, origin) if index >= 0 else None
        if block is None or not len(block):
            raise IndexError(f"{symbol} has no tick {index} in {source}")
        return block.packet(0)

    def index_at(self, source: str, symbol: str, timestamp: int, origin: str = "") -> int:
        """Return the index of the first tick at or after a time."""
        return int(self._json("index_at", source=source, symbol=symbol, timestamp=timestamp, origin=origin))

    def delete(self, source: str, origin: str | None = None) -> None:
        """Forget a source, or one origin of it."""
        self._ask("DELETE", "ticks", source=source, origin=origin)

    def _json(self, path: str, **query: Any) -> Any:
        return msgspec.json.decode(self._ask("GET", path, **query).content)

    def _ask(self, method: str, path: str, body: bytes | Iterable[bytes] | None = None, **query: Any) -> httpx.Response:
        query = {name: value for name, value in query.items() if value is not None}
        try:
            answer = self._client.request(method, f"{self._base}/{path}", params=query, content=body)
        except httpx.HTTPError as error:
            raise FaultError(f"the LIT server at {self._client.base_url} does not answer: {error}") from error
        if answer.is_error:
            kind = UserError if answer.status_code in (400, 404, 422) else FaultError
            raise kind(f"the LIT server refused ({answer.status_code}): {answer.text[:400]}")
        return answer


class HttpStores:
    """The stores of all teams behind a server (`Stores`)."""

    def __init__(self, url: str, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        # The server is this machine's: a proxy of the environment has no part in it.
        self._client = httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT, trust_env=False)

    def team(self, name: str) -> HttpStore:
        """Return a team's store."""
        return HttpStore(self._client, name)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
