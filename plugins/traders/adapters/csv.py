"""Any CSV of trades: say which column is what, and how its times are written.

Rows that lack a symbol, a time, or a positive and finite price and volume are refused (quarantined with line number).
The order of the file is kept; a time that jumps back is kept too, and counted as late.
"""

from lit.streams.errors import UserError
from lit.streams.ingest_bytes import Dialect
from lit.streams.mapping import mapped_columns, mapped_ticks


def dialect(*, delimiter=",", header=True, decimal="."):
    """Say how the file is a table."""
    for what, mark in (("delimiter", delimiter), ("decimal", decimal)):
        if len(mark) != 1 and mark != "tab":
            raise UserError(f"{what} {mark!r} is not one character")
    return Dialect({"tab": "\t"}.get(delimiter, delimiter), header, decimal)


def columns(*, time="timestamp", date="", price="price", volume="volume", symbol="symbol", ticker="", sequence="",
            qualifiers="", keep=()):  # fmt: skip
    """Say which columns are read."""
    return mapped_columns(time=time, date=date, price=price, volume=volume, symbol=symbol, ticker=ticker,
                          sequence=sequence, qualifiers=qualifiers, keep=keep)  # fmt: skip


def read(rows, *, time="timestamp", date="", price="price", volume="volume", symbol="symbol", ticker="", sequence="",
         qualifiers="", keep=(), time_format="iso", time_unit="ms", time_zone="UTC", exchange=""):  # fmt: skip
    """Turn rows of a file into columns of ticks.

    Parameters
    ----------
    delimiter
        What separates cells: one character, or the word tab.
    header
        Whether the first line names the columns; if not, they are called 1, 2, 3 and so on.
    decimal
        What separates decimals: a point, or a comma.
    time
        Column with the time.
    date
        Column with the day, where it stands apart from the time; both are read as one text, with a blank between.
    price, volume
        Columns with the price and with the size of a trade.
    symbol
        Column with the instrument.
    ticker
        Name of the instrument where the file has no such column.
    sequence, qualifiers
        Columns kept as Seq. No. (whole numbers) and as Qualifiers; empty: there are none.
    keep
        Other columns to keep, as text.
    time_format
        iso (2024-01-31 14:30:00.5, with or without a zone), epoch (a count since 1970), or a pattern of strptime such
        as %d/%m/%Y %H:%M:%S.%f
    time_unit
        What an epoch time counts: s, ms, us or ns; s, ms and us may have decimals.
    time_zone
        Whose wall clock shows times that name no zone, such as America/New_York.
    exchange
        Calendar of exchange_calendars, such as XNYS, that tells the regular hours; empty: all hours are regular.
    """
    times = rows.times(time, date or None, form=time_format, unit=time_unit, zone=time_zone)
    return mapped_ticks(rows, times, price=price, volume=volume, symbol=symbol, ticker=ticker, sequence=sequence,
                        qualifiers=qualifiers, keep=keep, exchange=exchange)  # fmt: skip
