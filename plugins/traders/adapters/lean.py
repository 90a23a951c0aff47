"""QuantConnect LEAN trade ticks: one zip a day and instrument, such as equity/usa/tick/ibm/20131007_trade.zip.

Format (LEAN, Data/equity/readme.md): no header; milliseconds since midnight on the exchange's wall clock, price in
hundredths of a cent, size, venue, sale condition (hexadecimal flags; kept verbatim as Qualifiers), suspicious (0 or 1).
Day and instrument are in the name of the file in the zip: 20131007_ibm_Trade_Tick.csv.
"""

import re

import numpy as np
import pyarrow as pa

from lit.streams.errors import UserError
from lit.streams.ingest_bytes import Dialect
from lit.streams.sessions import session_codes

COLUMNS = {"1": "time", "2": "number", "3": "number", "4": "text", "5": "text", "6": "text"}
DIALECT = Dialect(header=False)


def read(rows, *, suffix="", scale=10_000, time_zone="America/New_York", exchange="XNYS", suspicious=True):
    """Turn rows of a file into columns of ticks.

    Parameters
    ----------
    suffix
        What follows the ticker in symbols, such as .N
    scale
        Units of the price column in one unit of money: 10000 for equities, 1 where prices are written as they are.
    time_zone
        Zone of the data: that of the exchange for equities, UTC for crypto.
    exchange
        Calendar of exchange_calendars that tells the regular hours; empty: all hours are regular.
    suspicious
        Whether trades that the vendor flagged count. The flag was set with later knowledge, so by default they do.
    """
    name = re.fullmatch(r"(\d{4})(\d\d)(\d\d)_(.+)_trade_tick\.csv", rows.name, re.IGNORECASE)
    if name is None:
        raise UserError(f"{rows.name!r} is not named as LEAN names trade ticks, 20131007_ibm_Trade_Tick.csv")
    if not suspicious:
        rows.set_aside(rows.equals("6", "1"), "suspicious")
    for column, what in (("2", "price"), ("3", "size")):
        rows.reject(rows.blank(column), f"{what} is missing")
        rows.reject(~(rows.numbers(column) > 0), f"{what} is not positive")
    times = rows.times("1", unit="ms", zone=time_zone, midnight="-".join(name.groups()[:3]))
    return {
        "symbol": pa.array([name[4].upper() + suffix] * len(rows)),
        "timestamp": times,
        "Price": rows.numbers("2") / scale,
        "Volume": rows["3"],
        "session": session_codes(exchange, times) if exchange else np.zeros(len(rows), np.uint8),
        "Qualifiers": rows["5"],
        "Ex/Cntrb.ID": rows["4"],
    }
