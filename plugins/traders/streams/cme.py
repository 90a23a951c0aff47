"""Trades of CME's futures and options by Databento's live service (GLBX.MDP3).

This file is yours to edit. Databento gives you a key. A lost connection goes on where it ended: the service replays up
to a day of what was missed. Symbols are as the exchange writes them (ESZ6), or of the kind that symbology says.

Parameters
----------
key : secret
    Databento API key (db-…); env:NAME takes it from the environment.
symbols : texts
    What to watch, such as ES.FUT or ESZ6; ALL_SYMBOLS is everything.
symbology : [raw_symbol, parent, continuous, instrument_id], default raw_symbol
    What kind of symbols these are.
dataset : text, default GLBX.MDP3
    Databento's data set.
gateway : text, optional
    Another host:port than Databento's own, for tests.
grace : number >= 0, default 1
    Seconds that a trade may be under way before the clock closes its bar.
"""

import asyncio
import time

from lit.plugins.traders.stream import UserError

SEQUENCE = "increasing"
RESUMES = True
HEARTBEAT = 35.0  # the gateway is asked for a heartbeat every 10 s
NEGATIVE_PRICES = True  # of spreads, and of oil once
COLUMNS = {"side": "text"}
#: The service replays this much (ns), and no more.
REPLAYED = 23 * 3600 * 1_000_000_000
AGED = "too long ago to be replayed"
SCALE = 1e9
KEEP_SECONDS = 2.0


async def stream(feed):
    """Connect once and yield trades."""
    import databento_dbn as dbn
    from databento.common.error import BentoError

    given, records = feed.parameters, asyncio.Queue()
    host, port = address(given)
    start = (feed.position or {}).get("start")
    if start is not None and start < time.time_ns() - REPLAYED:
        feed.gap(AGED)
        start = None
    transport, protocol = await asyncio.get_running_loop().create_connection(
        lambda: connection(given["key"], given["dataset"], records), host, port
    )
    newest = None
    try:
        try:
            await asyncio.wait_for(asyncio.shield(protocol.authenticated), 20)
        except BentoError as error:
            raise UserError(f"Databento refuses access to {given['dataset']}: {error}") from error
        newest = start or time.time_ns() - 1_000_000_000
        await feed.keep({"start": newest})
        protocol.subscribe("trades", given["symbols"], given["symbology"], start=start)
        protocol.start()
        feed.connected()
        names, kept, last = {}, time.monotonic(), {}
        while True:
            ticks = []
            for record in await batch(records):
                feed.alive()
                if isinstance(record, BaseException):
                    raise record
                if isinstance(record, dbn.SymbolMappingMsg):
                    names[record.instrument_id] = record.stype_out_symbol
                elif isinstance(record, dbn.ErrorMsg):
                    if record.code == dbn.ErrorCode.REPLAY_DATA_AGED_OUT:
                        feed.gap(AGED)
                        newest = time.time_ns()  # where the next attempt begins: asking for the same would end the same
                    failed(feed, dbn.ErrorCode, record)
                elif isinstance(record, dbn.TradeMsg):
                    if record.instrument_id not in names:
                        feed.reject(record, "no symbol is known of its instrument")
                        continue
                    newest = max(newest, record.ts_recv)
                    ticks.append(tick(record, names[record.instrument_id], last))
            yield ticks
            if time.monotonic() - kept > KEEP_SECONDS:
                kept = time.monotonic()
                await feed.keep({"start": newest})
    finally:
        transport.abort()
        if newest is not None:  # what came up to now need not be replayed
            await feed.keep({"start": newest})


def address(given):
    """Return the gateway's host and port."""
    if given["gateway"]:
        host, _, port = given["gateway"].rpartition(":")
        if not host or not port.isdigit():
            raise UserError(f"gateway {given['gateway']!r} is no host:port")
        return host, int(port)
    return f"{given['dataset'].lower().replace('.', '-')}.lsg.databento.com", 13000


def connection(key, dataset, records):
    """Return Databento's protocol, which puts what it receives into a queue, its end too."""
    from databento.live.protocol import DatabentoLiveProtocol

    class Protocol(DatabentoLiveProtocol):
        def received_record(self, record):
            records.put_nowait(record)

        def connection_lost(self, error):
            super().connection_lost(error)
            if not self.authenticated.done():
                self.authenticated.set_exception(ConnectionError("the gateway closed the connection"))
            for future in (self.authenticated, self.disconnected):  # the queue tells of it
                if future.done() and not future.cancelled():
                    future.exception()
            records.put_nowait(error or ConnectionError("the gateway closed the connection"))

    return Protocol(key, dataset, heartbeat_interval_s=10)


async def batch(records):
    """Return all records that are waiting, at least one."""
    found = [await records.get()]
    while not records.empty():
        found.append(records.get_nowait())
    return found


def failed(feed, codes, record):
    """Raise what the gateway complains of: for good, or as a lost connection."""
    if record.code == codes.SKIPPED_RECORDS_AFTER_SLOW_READING:
        feed.gap("skipped by the gateway: read too slowly")
        return
    if record.code in (
        codes.AUTH_FAILED,
        codes.API_KEY_DEACTIVATED,
        codes.CONNECTION_LIMIT_EXCEEDED,
        codes.SYMBOL_RESOLUTION_FAILED,
        codes.INVALID_SUBSCRIPTION,
    ):
        raise UserError(f"Databento refuses: {record.err}")
    raise ConnectionError(record.err)


def tick(record, symbol, last):
    """Turn a trade into a tick.

    What a replay repeats is known by the time at which Databento received it, one more for each further trade of the
    same packet: a restarted connection begins with a whole packet, so it counts the same again.
    """
    number = max(record.ts_recv, last.get(symbol, 0) + 1)
    last[symbol] = number
    return {
        "symbol": symbol,
        "timestamp": record.ts_event,
        "Price": record.price / SCALE,
        "Volume": float(record.size),
        "Seq. No.": record.sequence,
        "side": str(record.side),
        "sequence": number,
    }
