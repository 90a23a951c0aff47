"""LSEG (Refinitiv) Tick History: trades out of its CSV files, both header generations, columns in any order.

This file is yours to edit: what is kept, left out or refused is said here. Policy as shipped:
- rows of type Trade are ticks; Quote, Correction and other rows are passed over and counted by type;
- a trade without a positive, finite price and volume is refused (quarantined with its line number);
- the time is Date-Time, or Date[G] with Time[G] (both UTC), never Exch Time; clocks that jump back are kept;
- qualifiers are kept verbatim, blanks and all.
"""

import numpy as np

from lit.streams.sessions import sessions_by_suffix

COLUMNS = {
    "#RIC": "text", "Type": "text", "Price": "number", "Volume": "number", "Date-Time": "instant",
    "Date[G]": "text", "Time[G]": "clock", "Qualifiers": "text", "Seq. No.": "integer", "Ex/Cntrb.ID": "text",
}  # fmt: skip
LAYOUTS = [
    ("#RIC", "Type", "Price", "Volume", "Date-Time"),
    ("#RIC", "Type", "Price", "Volume", "Date[G]", "Time[G]"),
]
#: Which exchange's regular hours hold, by the RIC's suffix; a name of exchange_calendars.
EXCHANGES = {
    "N": "XNYS", "O": "XNYS", "OQ": "XNYS", "A": "XNYS", "P": "XNYS", "K": "XNYS", "Z": "XNYS", "L": "XLON",
    "PA": "XPAR", "AS": "XAMS", "BR": "XBRU", "DE": "XETR", "MI": "XMIL", "MC": "XMAD", "S": "XSWX", "VX": "XSWX",
    "ST": "XSTO", "CO": "XCSE", "HE": "XHEL", "OL": "XOSL", "T": "XTKS", "HK": "XHKG", "TO": "XTSE", "AX": "XASX",
}  # fmt: skip
EXCHANGE = "XNYS"  # of every other RIC
#: Trades that do not count, as name → regular expression on the qualifiers; they are passed over and counted under
#: the name, as in {"average price": r"W  \[GV4_TEXT\]"}. As shipped every trade counts.
NOT_ELIGIBLE: dict[str, str] = {}


def read(rows):
    """Turn rows of a file into columns of ticks."""
    trades = rows.equals("Type", "Trade")
    for kind in ("Quote", "Correction"):
        rows.skip(rows.equals("Type", kind), kind.lower())
    rows.skip(~trades, "other type")
    for name, expression in NOT_ELIGIBLE.items():
        rows.skip(rows.matches("Qualifiers", expression), name)
    for name in ("Price", "Volume"):
        rows.reject(rows.blank(name), f"{name} is missing")
        rows.reject(~(np.isfinite(rows.numbers(name)) & (rows.numbers(name) > 0)), f"{name} is not positive")
    times = rows.instants("Date-Time") if "Date-Time" in rows else rows.instants("Date[G]", "Time[G]")
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
