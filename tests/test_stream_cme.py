"""The cme adapter against a local gateway that speaks Databento's live protocol: CRAM, subscriptions, DBN records."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import databento_dbn as dbn
import pytest

from lit.streams.errors import UserError
from lit.streams.stream_adapters import stream_adapter_path
from lit.streams.workspace import Workspace
from tests.feeds import add_stream, blocks, gaps, numbers, recorded, running, until

pytestmark = pytest.mark.kafka
KEY, CHALLENGE = "db-0123456789abcdefghijklmno", "cZ9aXk"
TEAM = "futures"


class Gateway:
    """Knows a tape of trades; a connection gets it from its `start` on, up to a place, where it is cut off.

    The second one falls silent there instead. `errors` names connections, from 1, that are first told of an error.
    """

    def __init__(self, lengths: tuple[int, ...], errors: dict[int, dbn.ErrorCode] | None = None) -> None:
        self.errors = errors or {}
        self.begin = 0
        self.starts: list[int | None] = []
        self.tries = 0
        self._lengths = lengths

    def trade(self, number: int) -> dbn.TradeMsg:
        packet = number // 2  # two trades a packet: the same time of receipt, the same sequence number
        received = self.begin + packet * 1_000_000
        late = 3_000_000 * (number % 50 == 40)  # matched before others that were received earlier
        return dbn.TradeMsg(
            publisher_id=1, instrument_id=7 + number % 2 * (number % 3 == 0), ts_event=received - 50_000 - late,
            price=(-5_000 + number) * 1_000_000_000, size=1 + number % 4, action=dbn.Action.TRADE, side=dbn.Side.BID,
            depth=0, ts_recv=received, sequence=packet,
        )  # fmt: skip

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await self._serve(reader, writer)
        writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tries += 1
        self.begin = self.begin or time.time_ns()
        writer.write(f"lsg_version=0.6.0\ncram={CHALLENGE}\n".encode())
        asked = fields(await reader.readline())
        expected = hashlib.sha256(f"{CHALLENGE}|{KEY}".encode()).hexdigest() + f"-{KEY[-5:]}"
        if asked["auth"] != expected or asked["dataset"] != "GLBX.MDP3":
            writer.write(b"success=0|error=Authentication failed\n")
            await writer.drain()
            return
        writer.write(b"success=1|session_id=5\n")
        wanted = fields(await reader.readline())
        assert wanted["schema"] == "trades" and wanted["stype_in"] == "raw_symbol"
        start = int(wanted["start"]) if "start" in wanted else None
        self.starts.append(start)
        assert fields(await reader.readline()) == {"start_session": "0"}
        metadata = dbn.Metadata(
            "GLBX.MDP3", self.begin, dbn.SType.RAW_SYMBOL, dbn.SType.INSTRUMENT_ID, dbn.Schema.TRADES,
            symbols=["ESZ6", "CLF7"],
        )  # fmt: skip
        writer.write(bytes(metadata))
        for instrument, symbol in ((7, "ESZ6"), (8, "CLF7")):
            kinds = (dbn.SType.RAW_SYMBOL, symbol, dbn.SType.RAW_SYMBOL, symbol)
            writer.write(bytes(dbn.SymbolMappingMsg(1, instrument, self.begin, *kinds, 0, dbn.UNDEF_TIMESTAMP)))
        if (error := self.errors.get(len(self.starts))) is not None:
            writer.write(bytes(dbn.ErrorMsg(time.time_ns(), "told so", True, error)))
            await writer.drain()
            if error == dbn.ErrorCode.REPLAY_DATA_AGED_OUT:
                return
            self.begin = time.time_ns()  # what was skipped is gone
        length = self._lengths[min(len(self.starts), len(self._lengths)) - 1]
        for number in range(200):
            trade = self.trade(number)
            if start is not None and trade.ts_recv < start:
                continue
            if number == length:
                await writer.drain()
                await asyncio.sleep(30 if len(self.starts) == 2 else 0)
                return
            writer.write(bytes(trade))
            await writer.drain()
            await asyncio.sleep(0.015)
        while True:
            writer.write(bytes(dbn.SystemMsg(time.time_ns(), "Heartbeat", dbn.SystemCode.HEARTBEAT)))
            await writer.drain()
            await asyncio.sleep(0.1)


def fields(line: bytes) -> dict[str, str]:
    return dict(part.split("=", 1) for part in line.decode().strip().split("|"))


@contextlib.asynccontextmanager
async def gateway(behaviour: Gateway) -> AsyncIterator[str]:
    server = await asyncio.start_server(behaviour.serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def test_cut_and_silent_connections_go_on_where_they_ended_without_loss_or_repeat(
    kafka: str, tmp_path: Path
) -> None:
    workspace, served = Workspace(tmp_path, TEAM), Gateway((61, 131, 10**9))
    own = stream_adapter_path(workspace, "cme")  # the team's copy, which it edits
    own.write_text(own.read_text().replace("HEARTBEAT = 35.0", "HEARTBEAT = 3.0"))
    async with gateway(served) as address:
        add_stream(workspace, "cme", "cme", key=KEY, symbols=["ESZ6", "CLF7"], gateway=address)
        async with running(workspace, "cme", kafka) as task:
            health = await until(workspace, "cme", lambda health: health.ticks == 200, task)
    assert health.reconnects == 2 and health.gaps == 0 and not health.rejects and health.repeats > 0
    assert served.starts[0] is None and served.starts[1] is not None and health.out_of_order > 0
    found = recorded(kafka, TEAM, "cme")
    tape = [served.trade(number) for number in range(200)]
    for instrument, symbol in ((7, "ESZ6"), (8, "CLF7")):
        expected = [trade for trade in tape if trade.instrument_id == instrument]
        assert numbers(found[symbol]) == [trade.sequence for trade in expected]
        prices = [price for block in blocks(found[symbol]) for price in block.price.tolist()]
        assert prices == [trade.price / 1e9 for trade in expected] and min(prices) < 0


async def test_a_refused_key_is_one_sentence_without_the_key_and_without_another_try(
    kafka: str, tmp_path: Path
) -> None:
    workspace, served = Workspace(tmp_path, TEAM), Gateway((1,))
    async with gateway(served) as address:
        add_stream(workspace, "wrong", "cme", key="db-wrong-wrong-wrong-wrong-00", symbols=["ESZ6"], gateway=address)
        with pytest.raises(UserError, match="Authentication failed") as refused:
            async with running(workspace, "wrong", kafka) as task:
                await task
    assert "db-wrong" not in str(refused.value) and served.tries == 1


async def test_what_the_gateway_skipped_or_replays_no_more_is_a_gap_and_the_stream_goes_on(
    kafka: str, tmp_path: Path
) -> None:
    errors = {2: dbn.ErrorCode.REPLAY_DATA_AGED_OUT, 3: dbn.ErrorCode.SKIPPED_RECORDS_AFTER_SLOW_READING}
    workspace, served = Workspace(tmp_path, TEAM), Gateway((61, 0, 40), errors)
    async with gateway(served) as address:
        add_stream(workspace, "skips", "cme", key=KEY, symbols=["ESZ6", "CLF7"], gateway=address)
        async with running(workspace, "skips", kafka) as task:
            health = await until(workspace, "skips", lambda health: health.ticks >= 90, task)
        before = len(served.starts)
        own = stream_adapter_path(workspace, "cme")
        own.write_text(own.read_text().replace("REPLAYED = 23 * 3600 * ", "REPLAYED = 0 * "))
        async with running(workspace, "skips", kafka) as task:
            await until(workspace, "skips", lambda health: health.gaps >= 2 and len(served.starts) > before, task)
    assert health.reconnects >= 2 and served.starts[2] > served.starts[1] and served.starts[before] is None  # type: ignore[operator]
    reasons = [gap.reason for gap in gaps(recorded(kafka, TEAM, "skips")["ESZ6"])]
    aged = "too long ago to be replayed"
    assert reasons[:2] == [aged, "skipped by the gateway: read too slowly"] and reasons[-1] == aged


async def test_a_subscription_that_the_gateway_refuses_ends_the_stream(kafka: str, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, TEAM)
    served = Gateway((1,), {1: dbn.ErrorCode.SYMBOL_RESOLUTION_FAILED})
    async with gateway(served) as address:
        add_stream(workspace, "none", "cme", key=KEY, symbols=["NOPE"], gateway=address)
        with pytest.raises(UserError, match="Databento refuses: told so"):
            async with running(workspace, "none", kafka) as task:
                await task
    assert served.tries == 1
