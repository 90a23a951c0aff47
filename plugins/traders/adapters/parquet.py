"""Parquet files of trades, read a row group at a time: say which column is what, and how its times are kept.

Rows that lack a symbol, a time, or a positive and finite price and volume are refused (quarantined with row number).
"""

from lit.streams.mapping import mapped_columns, mapped_ticks

ROWS = 65_536  # at once


def batches(path, *, time="timestamp", price="price", volume="volume", symbol="symbol", ticker="", sequence="",
            qualifiers="", keep=()):  # fmt: skip
    """Yield the file's rows, only the columns that are read."""
    import pyarrow.parquet as pq

    names = columns(time=time, price=price, volume=volume, symbol=symbol, ticker=ticker, sequence=sequence,
                    qualifiers=qualifiers, keep=keep)  # fmt: skip
    with pq.ParquetFile(path) as file:
        complete = set(names) <= set(file.schema_arrow.names)  # if not, all are shown to the user
        yield from file.iter_batches(ROWS, columns=list(names) if complete else None, use_threads=False)


def columns(*, time="timestamp", price="price", volume="volume", symbol="symbol", ticker="", sequence="",
            qualifiers="", keep=()):  # fmt: skip
    """Say which columns are read."""
    return mapped_columns(time=time, price=price, volume=volume, symbol=symbol, ticker=ticker, sequence=sequence,
                          qualifiers=qualifiers, keep=keep)  # fmt: skip


def read(rows, *, time="timestamp", price="price", volume="volume", symbol="symbol", ticker="", sequence="",
         qualifiers="", keep=(), time_unit="ns", time_zone="UTC", exchange=""):  # fmt: skip
    """Turn rows of a file into columns of ticks.

    Parameters
    ----------
    time
        Column with the time: timestamps of any unit, with or without a zone, or numbers since 1970.
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
    time_unit
        What numbers count: s, ms, us or ns.
    time_zone
        Whose wall clock shows times that name no zone, such as America/New_York.
    exchange
        Calendar of exchange_calendars, such as XNYS, that tells the regular hours; empty: all hours are regular.
    """
    times = rows.times(time, unit=time_unit, zone=time_zone)
    return mapped_ticks(rows, times, price=price, volume=volume, symbol=symbol, ticker=ticker, sequence=sequence,
                        qualifiers=qualifiers, keep=keep, exchange=exchange)  # fmt: skip
