"""LSEG (Refinitiv) Tick History: trades out of its CSV files, both header generations, columns in any order.

This file is yours to edit: what is kept, left out or refused is said here. Policy as shipped:
- rows of type Trade are ticks, whatever their qualifiers; the qualifiers are kept verbatim, blanks and all;
- Quote and other rows are passed over and counted by type;
- corrections and cancels are set aside: counted, and kept with their line numbers beside the refused rows. The trade
  that they speak of stays as it was seen, since to change it would be to look ahead;
- a trade without a positive, finite price and volume is refused (quarantined with its line number);
- the time is Date-Time, or Date[G] with Time[G], or Date[L] with Time[L] less the GMT Offset; never Exch Time, which is
  local or UTC by venue. Clocks that jump back are kept, and so are rows that equal the one before: real trades.
"""

import numpy as np

from lit.streams.sessions import sessions_by_suffix

COLUMNS = {
    "#RIC": "text", "Type": "text", "Price": "number", "Volume": "number", "Date-Time": "instant",
    "Date[G]": "text", "Time[G]": "clock", "Date[L]": "text", "Time[L]": "clock", "GMT Offset": "text",
    "Qualifiers": "text", "Seq. No.": "integer", "Ex/Cntrb.ID": "text",
}  # fmt: skip
LAYOUTS = [
    ("#RIC", "Type", "Price", "Volume", "Date-Time"),
    ("#RIC", "Type", "Price", "Volume", "Date[G]", "Time[G]"),
    ("#RIC", "Type", "Price", "Volume", "Date[L]", "Time[L]", "GMT Offset"),
]
#: Which exchange's regular hours hold, by the RIC's suffix; a name of exchange_calendars.
EXCHANGES = {
    "N": "XNYS", "O": "XNYS", "OQ": "XNYS", "A": "XNYS", "P": "XNYS", "K": "XNYS", "Z": "XNYS", "L": "XLON",
    "PA": "XPAR", "AS": "XAMS", "BR": "XBRU", "DE": "XETR", "MI": "XMIL", "MC": "XMAD", "S": "XSWX", "VX": "XSWX",
    "ST": "XSTO", "CO": "XCSE", "HE": "XHEL", "OL": "XOSL", "T": "XTKS", "HK": "XHKG", "TO": "XTSE", "AX": "XASX",
}  # fmt: skip
EXCHANGE = "XNYS"  # of every other RIC
#: Trades that were called back, by their qualifiers; rows of a type that says so are cancels too.
CANCELLED = r"(?i)\bcancel|\bcxl\b"
#: Trades that do not count, as name → regular expression on the qualifiers; they are passed over and counted under
#: the name, as in {"average price": r"W  \[GV4_TEXT\]"}. As shipped every trade counts.
NOT_ELIGIBLE: dict[str, str] = {}


def read(rows, *, exclude={}):  # noqa: B006 (never changed)
    """Turn rows of a file into columns of ticks.

    Parameters
    ----------
    exclude
        Trades that do not count besides NOT_ELIGIBLE: name → regular expression on the qualifiers.
    """
    rows.set_aside(rows.equals("Type", "Correction"), "correction")
    rows.set_aside(rows.matches("Type", "(?i)cancel"), "cancel")
    rows.skip(rows.equals("Type", "Quote"), "quote")
    rows.skip(~rows.equals("Type", "Trade"), "other type")
    rows.set_aside(rows.matches("Qualifiers", CANCELLED), "cancel")
    for name, expression in {**NOT_ELIGIBLE, **exclude}.items():
        rows.skip(rows.matches("Qualifiers", expression), name)
    for name in ("Price", "Volume"):
        rows.reject(rows.blank(name), f"{name} is missing")
        rows.reject(~(np.isfinite(rows.numbers(name)) & (rows.numbers(name) > 0)), f"{name} is not positive")
    times = _times(rows)
    return {
        "symbol": rows["#RIC"],
        "timestamp": times,
        "Price": rows["Price"],
        "Volume": rows["Volume"],
        "Seq. No.": rows["Seq. No."],
        "session": sessions_by_suffix(rows["#RIC"], times, EXCHANGES, EXCHANGE),
        "Qualifiers": rows["Qualifiers"],
        **({"Ex/Cntrb.ID": rows["Ex/Cntrb.ID"]} if "Ex/Cntrb.ID" in rows else {}),
    }


def _times(rows):
    if "Date-Time" in rows:
        return rows.instants("Date-Time")
    if "Date[G]" in rows:
        return rows.instants("Date[G]", "Time[G]")
    hours = rows.distinct("GMT Offset", _hours, blank=np.nan)
    rows.reject(np.isnan(hours), "GMT Offset is not a number of hours")
    return rows.instants("Date[L]", "Time[L]") - (np.nan_to_num(hours) * 3_600_000_000_000).astype(np.int64)


def _hours(text):
    try:
        return float(text)
    except ValueError:
        return np.nan
