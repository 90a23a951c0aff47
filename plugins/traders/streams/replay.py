"""Files sent as if they were live: in market time, at any speed, with pause, seek and loop.

This file is yours to edit. Market time never goes back in a stream, so what is replayed again (by `loop`, or a `seek`
backwards) is moved into the future by whole weeks: the day of the week and the time of the day stay.

Parameters
----------
paths : texts
    Files in the order of their time, absolute or within the team's raw folder.
adapter : text, default refinitiv
    Source adapter that reads them.
speed : number >= 0 <= 1000000, default 1
    Seconds of the market a second; 0: as fast as possible.
start : text, optional
    ISO time with zone; what is before it goes out at once and warms up what follows.
max_gap : number > 0, default 5
    Seconds that a silence of the market takes at the most.
paused : boolean, default false
    Whether market time stands still.
seek : text, optional
    ISO time with zone to jump to; a change of this text is carried out once, so #2, #3… behind it repeat a jump.
loop : boolean, default false
    Whether to begin again after the last file.
"""

import asyncio
import time

from lit.plugins.traders.stream import Columns, UserError
from lit.streams.replay import ReplayProgress, file_batches, plan_files
from lit.streams.tick import TickBlock, from_iso
from lit.streams.timeline import Clock, checked_pace, timeline
from lit.streams.workspace import Workspace

SEQUENCE = "contiguous"  # a tick's number is its place in the files
CLOCK = "adapter"
RESUMES = True
LIVE = ("speed", "paused", "seek", "loop")

WEEK = 7 * 86_400 * 1_000_000_000


async def stream(feed):
    """Replay leg by leg: the first from the beginning, another after each jump; a restarted one goes on in its leg."""
    given, workspace = feed.parameters, Workspace(feed.folder.parent, feed.folder.name)
    checked_pace(given["speed"], given["start"], given["max_gap"])
    paths = [feed.folder / "raw" / path for path in given["paths"]]
    plan = await asyncio.to_thread(plan_files, workspace, given["adapter"], paths)
    leg = first_leg(feed, list(plan.marks))
    await feed.keep(leg)
    feed.connected()
    while True:
        async for columns in one_leg(feed, plan, leg):
            yield columns
        if wanted(feed) == leg["seek"] and not given["loop"]:
            return
        reason = "seek" if wanted(feed) != leg["seek"] else "loop"
        leg = next_leg(feed, leg)
        feed.gap(reason)
        await feed.keep(leg)


def wanted(feed):
    """Return the jump that the parameters ask for."""
    return feed.parameters["seek"]


def moment(text):
    """Return the time (ns) that a seek names."""
    try:
        return from_iso(text.partition("#")[0].strip())
    except ValueError as error:
        raise UserError(f"seek of a replay: {error}") from None


def first_leg(feed, marks):
    """Return the leg to go on in, or the first one."""
    leg = feed.position
    if leg is None:
        if feed.symbols():
            raise UserError("its topic holds ticks of another feed: choose another stream name")
        seek = wanted(feed)
        return {"leg": 0, "from": moment(seek) if seek else 0, "shift": 0, "seek": seek, "files": marks}
    if not isinstance(leg, dict) or leg.get("files") != marks[: len(leg.get("files", []))]:
        raise UserError(
            "its topic holds ticks of other files (or of another version of the adapter): choose another stream name"
        )
    return {**leg, "files": marks}


def next_leg(feed, leg):
    """Return the leg after a jump; market time goes on, by whole weeks more if it has to."""
    seek = wanted(feed)
    target = moment(seek) if seek and seek != leg["seek"] else 0
    now = max(feed.symbols().values(), default=0)
    shift = leg["shift"]
    if target == 0 or target + shift <= now:
        shift += max(1, -(-(now - (target or leg["first"]) - shift) // WEEK)) * WEEK
    return {**leg, "leg": leg["leg"] + 1, "from": target, "shift": shift, "seek": seek}


async def one_leg(feed, plan, leg):
    """Yield the ticks of a leg at their times, until the files end or a jump is wanted."""
    given = feed.parameters
    pace = checked_pace(given["speed"], given["start"] if not leg["from"] else None, given["max_gap"])
    pace.start = max(pace.start, leg["from"])
    clock, channel, begun = Clock(pace), str(leg["leg"]), set()
    for _, item, due in timeline(file_batches(plan, ReplayProgress(plan.raw_bytes)), pace, {}):
        await asyncio.sleep(0)
        symbol, seen = item.symbol, feed.seen(item.symbol, channel)
        if isinstance(item, TickBlock):
            leg.setdefault("first", int(item.timestamp[0]))
            if symbol not in begun and int(item.timestamp[0]) < leg["from"]:
                continue
            begun.add(symbol)
            if seen is not None and seen >= item.next_index - 1:
                continue
        elif symbol not in begun or (seen is not None and seen >= item.next_index):
            continue
        if not await arrived(feed, clock, pace, due, leg):
            return
        if isinstance(item, TickBlock):
            yield Columns(symbol, moved(item.batch, leg["shift"]), item.first_index, channel)
        else:
            feed.watermark(symbol, item.timestamp + leg["shift"])


async def arrived(feed, clock, pace, due, leg):
    """Wait until market time is `due`; returns False if a jump is wanted instead."""
    given = feed.parameters
    left, began = clock.left(due), time.monotonic()
    while True:
        if wanted(feed) != leg["seek"]:
            return False
        if given["paused"]:
            feed.show("paused")
            paused = time.monotonic()
            await feed.sleep(0.05)
            began += time.monotonic() - paused
            clock.pause(time.monotonic() - paused)
            continue
        feed.show("live")
        if pace.speed != given["speed"]:
            if pace.speed and given["speed"]:
                rest = left - (time.monotonic() - began)
                left, began = rest * pace.speed / given["speed"], time.monotonic()
            pace.speed = given["speed"]
        if not pace.speed or (rest := left - (time.monotonic() - began)) <= 0:
            return True
        await feed.sleep(min(rest, 0.05))


def moved(batch, shift):
    """Return ticks with their times moved by `shift` ns."""
    if not shift:
        return batch
    import pyarrow.compute as pc

    place = batch.schema.get_field_index("timestamp")
    return batch.set_column(place, batch.schema.field(place), pc.add(batch.column(place), shift))
