"""The crypto adapter against a local exchange that speaks Kraken's REST and WebSocket (v2) protocol."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from lit.streams.errors import UserError
from lit.streams.workspace import Workspace
from tests.feeds import add_stream, gaps, numbers, recorded, running, until

pytestmark = pytest.mark.kafka
SYMBOLS = ("BTC/USD", "ETH/USD")


class Kraken:
    """Two markets; each connection gets a snapshot of the last trades, then new ones, until it is cut off.

    `disorder`: the newer of two trades is sent before the older one; `refusal` is what requests are answered with;
    `mute`: a connection is not cut off, it just says nothing any more, and answers no ping.
    """

    def __init__(
        self, snapshot: int, lengths: tuple[int, ...], disorder: bool = False, refusal: str = "", mute: bool = False
    ) -> None:
        self.disorder, self.refusal, self.mute, self.asked = disorder, refusal, mute, 0
        self.tape: dict[str, list[dict[str, Any]]] = {symbol: [] for symbol in SYMBOLS}
        self._snapshot, self._lengths, self._connections = snapshot, lengths, 0

    def trade(self, symbol: str) -> dict[str, Any]:
        made = {
            "symbol": symbol, "side": "buy", "price": 60000.5, "qty": 0.25, "ord_type": "limit",
            "trade_id": len(self.tape[symbol]) + 100,
            "timestamp": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        }  # fmt: skip
        self.tape[symbol].append(made)
        return made

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json({"channel": "status", "type": "update", "data": [{"system": "online"}]})
        length = self._lengths[min(self._connections, len(self._lengths) - 1)]
        self._connections += 1
        wanted: list[str] = []
        while len(wanted) < len(SYMBOLS):
            asked = await socket.receive_json()
            (symbol,) = asked["params"]["symbol"]
            wanted.append(symbol)
            reply = {"method": "subscribe", "success": True, "req_id": asked["req_id"]}
            await socket.send_json({**reply, "result": {"channel": "trade", "symbol": symbol, "snapshot": True}})
            if last := self.tape[symbol][max(0, len(self.tape[symbol]) - self._snapshot) :]:
                await socket.send_json({"channel": "trade", "type": "snapshot", "data": last})
        for number in itertools.count():
            if socket.closed:
                break
            if number == length:
                for symbol in SYMBOLS * 3:
                    self.trade(symbol)  # happens while nobody is connected
                if self.mute:
                    await asyncio.sleep(60)
                request.transport.abort()  # type: ignore[union-attr]
                return socket
            if number < 20:
                for symbol in SYMBOLS:
                    data = [self.trade(symbol) for _ in range(1 + number % 2)]
                    for part in [[one] for one in reversed(data)] if self.disorder else [data]:
                        await socket.send_json({"channel": "trade", "type": "update", "data": part})
            await socket.send_json({"channel": "heartbeat"})
            with contextlib.suppress(TimeoutError):
                await socket.receive(0.02)  # answers pings, notices the client's end
        return socket

    async def pairs(self, _: web.Request) -> web.Response:
        self.asked += 1
        if self.refusal:
            return web.json_response({"error": [self.refusal]})
        common = {
            "aclass_base": "currency", "aclass_quote": "currency", "lot": "unit", "pair_decimals": 1,
            "lot_decimals": 8, "quote": "ZUSD", "fees": [[0, 0.4]], "fees_maker": [[0, 0.25]], "status": "online",
        }  # fmt: skip
        result = {
            "XXBTZUSD": {**common, "altname": "XBTUSD", "wsname": "XBT/USD", "base": "XXBT"},
            "XETHZUSD": {**common, "altname": "ETHUSD", "wsname": "ETH/USD", "base": "XETH"},
        }
        return web.json_response({"error": [], "result": result})

    async def assets(self, _: web.Request) -> web.Response:
        names = {"XXBT": "XBT", "XETH": "ETH", "ZUSD": "USD"}
        common = {"aclass": "currency", "decimals": 10, "display_decimals": 5, "status": "enabled"}
        result = {name: {**common, "altname": short} for name, short in names.items()}
        return web.json_response({"error": [], "result": result})


@contextlib.asynccontextmanager
async def exchange(kraken: Kraken) -> AsyncIterator[dict[str, str]]:
    """Serve an exchange; yields the adapter's `urls`."""
    app = web.Application()
    app.router.add_get("/0/public/AssetPairs", kraken.pairs)
    app.router.add_get("/0/public/Assets", kraken.assets)
    app.router.add_get("/v2", kraken.socket)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    address = f"127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield {"public": f"http://{address}", "ws.publicV2": f"ws://{address}/v2"}
    finally:
        await runner.cleanup()


async def test_each_trade_comes_once_and_what_no_snapshot_brings_back_is_marked(kafka: str, tmp_path: Path) -> None:
    workspace, tapes = Workspace(tmp_path, "crypto"), {0: Kraken(0, (12, 10**9)), 50: Kraken(50, (12, 10**9))}
    async with exchange(tapes[0]) as forgetful, exchange(tapes[50]) as mindful:
        for name, urls in (("kraken0", forgetful), ("kraken50", mindful)):
            add_stream(workspace, name, "crypto", exchange="kraken", symbols=list(SYMBOLS), urls=urls)
        async with running(workspace, "kraken0", kafka) as one, running(workspace, "kraken50", kafka) as two:
            less = await until(workspace, "kraken0", lambda health: health.ticks >= 96 and health.gaps == 2, one)
            more = await until(workspace, "kraken50", lambda health: health.ticks >= 102, two)
    assert less.reconnects == more.reconnects == 1 and not less.repeats and more.repeats and not more.gaps
    for snapshot, kraken in tapes.items():
        for symbol, items in recorded(kafka, "crypto", f"kraken{snapshot}").items():
            ids = [trade["trade_id"] for trade in kraken.tape[symbol]]
            assert numbers(items) == (ids if snapshot else ids[:18] + ids[21:])
            assert [gap.missed for gap in gaps(items)] == ([] if snapshot else [3])


async def test_a_connection_that_just_says_nothing_any_more_is_given_up(kafka: str, tmp_path: Path) -> None:
    workspace, kraken = Workspace(tmp_path, "crypto"), Kraken(50, (5, 10**9), mute=True)
    async with exchange(kraken) as urls:
        add_stream(workspace, "mute", "crypto", exchange="kraken", symbols=list(SYMBOLS), urls=urls)
        async with running(workspace, "mute", kafka) as task:
            health = await until(workspace, "mute", lambda health: health.reconnects == 1 and health.repeats > 0, task)
    assert health.gaps == 0
    for symbol, items in recorded(kafka, "crypto", "mute").items():
        assert numbers(items) == [trade["trade_id"] for trade in kraken.tape[symbol]][: len(numbers(items))]


async def test_an_unknown_exchange_or_market_is_told(kafka: str, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, "crypto")
    async with exchange(Kraken(0, (1,))) as urls:
        add_stream(workspace, "market", "crypto", exchange="kraken", symbols=["BTC/XYZ"], urls=urls)
        add_stream(workspace, "venue", "crypto", exchange="nowhere")
        for name, expected in (("market", "BTC/XYZ"), ("venue", "nowhere")):
            with pytest.raises(UserError, match=expected):
                async with running(workspace, name, kafka) as task:
                    await task


async def test_trades_out_of_order_are_taken_once_each_and_no_gap(kafka: str, tmp_path: Path) -> None:
    workspace, kraken = Workspace(tmp_path, "crypto"), Kraken(0, (10**9,), disorder=True)
    async with exchange(kraken) as urls:
        add_stream(workspace, "disorder", "crypto", exchange="kraken", symbols=list(SYMBOLS), urls=urls)
        async with running(workspace, "disorder", kafka) as task:
            health = await until(workspace, "disorder", lambda health: health.ticks == 60, task)
    assert not health.gaps and not health.repeats and not health.rejects
    for symbol, items in recorded(kafka, "crypto", "disorder").items():
        ids = [trade["trade_id"] for trade in kraken.tape[symbol]]
        assert numbers(items) != ids and sorted(numbers(items)) == ids


async def test_an_exchange_that_refuses_is_asked_once_and_one_that_is_gone_again(kafka: str, tmp_path: Path) -> None:
    workspace, kraken = Workspace(tmp_path, "crypto"), Kraken(0, (1,), refusal="EGeneral:Permission denied")
    async with exchange(kraken) as urls:
        add_stream(workspace, "refused", "crypto", exchange="kraken", urls=urls)
        with pytest.raises(UserError, match=r"Kraken refuses: .*Permission denied"):
            async with running(workspace, "refused", kafka) as task:
                await task
        assert kraken.asked == 1
    add_stream(workspace, "gone", "crypto", exchange="kraken", urls=urls)
    async with running(workspace, "gone", kafka) as task:
        health = await until(workspace, "gone", lambda health: health.reconnects >= 2, task)
    assert "Kraken does not answer" in (health.last_error or "")
