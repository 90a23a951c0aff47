"""NAME: trades out of … (say which files these are, and what is kept, left out or refused)."""

import numpy as np

from lit.streams.sessions import session_codes

#: Columns that are read → text, number, integer, instant (ISO 8601 with zone), clock, or time (any form: rows.times).
COLUMNS = {"Symbol": "text", "Time": "time", "Price": "number", "Size": "number", "Condition": "text"}


def read(rows, *, time_zone="UTC", exchange=""):
    """Turn rows of a file into columns of ticks.

    Parameters
    ----------
    time_zone
        Whose wall clock shows times that name no zone.
    exchange
        Calendar of exchange_calendars, such as XNYS, that tells the regular hours; empty: all hours are regular.
    """
    rows.skip(rows.equals("Condition", "Q"), "quote")  # no ticks by nature: passed over and counted
    for name in ("Price", "Size"):  # ticks that cannot be used: refused, and kept with their line numbers
        rows.reject(~(np.nan_to_num(rows.numbers(name)) > 0), f"{name} is not positive")
    times = rows.times("Time", form="iso", zone=time_zone)
    return {
        "symbol": rows["Symbol"],
        "timestamp": times,
        "Price": rows["Price"],
        "Volume": rows["Size"],
        "session": session_codes(exchange, times) if exchange else np.zeros(len(rows), np.uint8),
        "Qualifiers": rows["Condition"],
    }
