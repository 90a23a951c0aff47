"""Databento DBN files (.dbn, .dbn.zst) of the schemas trades, tbbo, mbp-1 and mbo: their trades, by its own reader.

Records that are no trade (other actions of mbp-1 and mbo, fills included) are passed over and counted. Prices are
fixed-point with nine decimals. An instrument is called as the file's symbol mapping calls it that day, else by its id.
"""

import warnings

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lit.streams.errors import UserError
from lit.streams.sessions import session_codes

RECORDS = 65_536  # at once
SCHEMAS = ("trades", "tbbo", "mbp-1", "mbo")
NOTHING = 2**63 - 1  # a price that is not there; as an unsigned time it is 2**64 - 1
COLUMNS = {
    "symbol": "text", "ts_event": "integer", "ts_recv": "integer", "price": "integer", "size": "integer",
    "sequence": "integer", "action": "text", "side": "text", "publisher_id": "integer",
}  # fmt: skip
#: Which exchange's regular hours hold, by the dataset's venue.
EXCHANGES = {"XNAS": "XNYS", "XNYS": "XNYS", "ARCX": "XNYS", "DBEQ": "XNYS", "EQUS": "XNYS", "GLBX": "CMES"}


def batches(path):
    """Yield the file's records as columns."""
    import databento
    from databento.common.error import BentoWarning
    from databento.common.symbology import InstrumentMap

    store = databento.DBNStore.from_file(path)
    if str(store.schema) not in SCHEMAS:
        raise UserError(f"{path} holds records of schema {store.schema}; take one of {', '.join(SCHEMAS)}")
    names = InstrumentMap()
    names.insert_metadata(store.metadata)
    pieces = store.to_ndarray(count=RECORDS)
    while True:
        with warnings.catch_warnings():
            warnings.simplefilter("error", BentoWarning)  # of a file that is cut short, the reader only warns
            records = next(pieces, None)
        if records is None:
            return
        yield _batch(records, names, store.dataset)


def _batch(records, names, dataset):
    ids = records["instrument_id"]
    days = records["ts_recv"].astype("datetime64[ns]").astype("datetime64[D]")
    symbols = pa.array(names.resolve_many(ids.astype(np.uint64), days), pa.utf8())
    if symbols.null_count:
        symbols = pc.coalesce(symbols, pa.array(ids).cast(pa.utf8()))
    own = {name: _column(records[name]) for name in COLUMNS if name != "symbol"}
    return pa.RecordBatch.from_pydict({"symbol": symbols, **own}, metadata={"dataset": dataset})


def _column(values):
    if values.dtype.kind == "S":
        return pa.array(np.char.decode(values))
    return pa.array(values.astype(np.int64) if values.dtype == np.uint64 else values)


def read(rows, *, clock="ts_event", exchange=""):
    """Turn records of a file into columns of ticks.

    Parameters
    ----------
    clock
        ts_event, the time of the trade at its venue, or ts_recv, when Databento received it (which never jumps back).
    exchange
        Calendar of exchange_calendars that tells the regular hours; empty: by the dataset's venue, else all are.
    """
    rows.skip(~rows.equals("action", "T"), "no trade")
    prices = np.asarray(rows["price"])
    rows.reject(prices == NOTHING, "price is missing")  # prices of spreads may well be negative
    rows.reject(rows.numbers("size") <= 0, "size is not positive")
    times = np.asarray(rows[clock])
    rows.reject(times == -1, f"{clock} is missing")
    calendar = exchange or EXCHANGES.get(rows.metadata.get("dataset", "").partition(".")[0], "")
    return {
        "symbol": rows["symbol"],
        "timestamp": times,
        "Price": prices / 1e9,
        "Volume": rows["size"],
        "Seq. No.": rows["sequence"],
        "session": session_codes(calendar, times) if calendar else np.zeros(len(rows), np.uint8),
        "side": rows["side"],
        "publisher_id": rows["publisher_id"],
    }
