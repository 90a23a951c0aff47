"""Public trades of crypto exchanges, many symbols at once, by ccxt; no account is needed.

This file is yours to edit. Symbols are ccxt's, as in BTC/USD (spot) or BTC/USDT:USDT (swap).

Parameters
----------
exchange : text, default kraken
    ccxt's name of the exchange, such as kraken, coinbase, binance, okx.
symbols : texts, default BTC/USD, ETH/USD
    What to watch.
numbering : [none, increasing, contiguous], optional
    What trade numbers tell; without it, contiguous on exchanges that are known to count so, else increasing.
urls : mapping, optional
    Other addresses of the exchange's API, as in {"ws.publicV2": "wss://…"}, for proxies and tests.
grace : number >= 0, default 2
    Seconds that a trade may be under way before the clock closes its bar.
"""

import asyncio
import contextlib

from lit.plugins.traders.stream import UserError

COLUMNS = {"side": "text"}
#: Exchanges that number the trades of a market without holes.
CONTIGUOUS = ("binance", "binanceus", "coinbase", "kraken")


def SEQUENCE(parameters):  # noqa: N802 - a name of the contract
    """Return what the exchange's trade numbers tell."""
    return "contiguous" if parameters["exchange"] in CONTIGUOUS else "increasing"


async def stream(feed):
    """Connect once and yield the trades of all symbols."""
    import ccxt.pro

    given = feed.parameters
    if given["exchange"] not in ccxt.pro.exchanges:
        raise UserError(f"ccxt has no live exchange {given['exchange']!r}, but {', '.join(ccxt.pro.exchanges)}")
    exchange = getattr(ccxt.pro, given["exchange"])({"newUpdates": True})
    for path, address in (given["urls"] or {}).items():
        put(exchange.urls["api"], path.split("."), address)
    watchers, found = [], asyncio.Queue()
    try:
        await exchange.load_markets()
        if unknown := [symbol for symbol in given["symbols"] if symbol not in exchange.markets]:
            raise UserError(f"{exchange.name} has no market {', '.join(unknown)}; BTC/USD is how one is written")
        watchers = [asyncio.create_task(watch(exchange, symbol, found)) for symbol in given["symbols"]]
        feed.connected()
        while True:
            trades = await found.get()
            if isinstance(trades, Exception):
                raise trades
            yield [tick(trade) for trade in trades]
    except (ccxt.AuthenticationError, ccxt.PermissionDenied, ccxt.NotSupported, ccxt.BadSymbol) as error:
        raise UserError(f"{exchange.name} refuses: {error}") from error
    except ccxt.NetworkError as error:
        raise ConnectionError(f"{exchange.name} does not answer ({type(error).__name__}): {error}") from error
    finally:
        for watcher in watchers:
            watcher.cancel()
        with contextlib.suppress(Exception):
            await exchange.close()


async def watch(exchange, symbol, found):
    """Hand over the new trades of one symbol; one task a symbol, for a race between symbols would hold trades back."""
    try:
        while True:
            found.put_nowait(await exchange.watch_trades(symbol))
    except Exception as error:
        found.put_nowait(error)


def tick(trade):
    """Turn a trade of ccxt into a tick."""
    number = str(trade["id"] or "")
    return {
        "symbol": trade["symbol"],
        "timestamp": trade["timestamp"] * 1_000_000 if trade["timestamp"] is not None else None,
        "Price": trade["price"],
        "Volume": trade["amount"],
        "Seq. No.": int(number) if number.isdigit() and len(number) < 19 else None,
        "side": trade["side"],
    }


def put(tree, path, value):
    """Set a value in nested dicts."""
    for name in path[:-1]:
        tree = tree[name]
    tree[path[-1]] = value
