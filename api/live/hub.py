"""The streams that the server follows: opened when first asked for, each with its reader thread and its view."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool

from lit.api.errors import NotFoundError
from lit.api.live.forming import Key
from lit.api.live.reader import Batch, Computed, Kind, StreamReader
from lit.api.live.view import StreamView
from lit.api.services import Services
from lit.api.stream_bars import StreamBars
from lit.features.intervals import Interval
from lit.streams import topics
from lit.streams.errors import FaultError, UserError
from lit.streams.stream_files import told_gaps

#: Reading a stream's history to its end; then the answer is "try again", while reading goes on.
OPEN_SECONDS = 30.0
#: Series (interval and symbol) that one stream computes for its clients, beside the bars that workers publish.
COMPUTED = 64
#: What was told of a feed's gaps before the server began to read.
GAPS: Kind = ("gaps",)


@dataclass
class Followed:
    """A stream that is read."""

    view: StreamView
    reader: StreamReader


class Hub:
    """Follows streams; belongs to the event loop of the server."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.stored = StreamBars(services.stores)
        self._followed: dict[tuple[str, str], Followed] = {}
        self._asked: set[tuple[str, str, Kind]] = set()

    async def open(
        self, team: str, stream: str, interval: str | None = None, deployment: str | None = None
    ) -> StreamView:
        """Return the view of a stream once what is asked for was read to its end.

        Raises
        ------
        NotFoundError
            If the stream, its interval or the deployment does not exist.
        FaultError
            If reading takes too long: Kafka may be gone.
        """
        kinds: list[Kind] = [("bars", interval)] if interval else []
        if deployment:
            kinds += [("predictions", deployment), ("scores", deployment)]
        new = [kind for kind in kinds if (team, stream, kind) not in self._asked]
        if new:
            await run_in_threadpool(self._prepare, team, stream, interval, deployment)
        followed = self._follow(team, stream)
        if (team, stream, GAPS) not in self._asked:
            gaps = await run_in_threadpool(told_gaps, self._services.config.bootstrap, team, stream)
            self._asked.add((team, stream, GAPS))
            followed.view.apply(Batch(gaps=gaps))
        for kind in new:
            if (team, stream, kind) not in self._asked:  # another request may have been faster
                self._asked.add((team, stream, kind))
                followed.reader.add(kind)
        await self._read(followed.view, stream, kinds)
        return followed.view

    async def open_any(self, team: str, stream: str, symbol: str, interval: str, deployment: str | None) -> StreamView:
        """Return the view of a stream whose bars of a symbol are followed, also of an interval that nobody publishes.

        Raises
        ------
        NotFoundError
            If the stream or the deployment does not exist.
        UserError
            If too many such intervals are watched.
        FaultError
            If reading takes too long.
        """
        kind: Kind = ("computed", interval, symbol)
        computed = (team, stream, kind) in self._asked
        if not computed and await run_in_threadpool(self._services.publishes, team, stream, interval):
            return await self.open(team, stream, interval, deployment)
        view = await self.open(team, stream, None, deployment)
        if not computed:
            await run_in_threadpool(self._prepare, team, stream, None, None)
            bars, state = await run_in_threadpool(self.stored.read, team, stream, symbol, Interval.parse(interval))
            if (team, stream, kind) not in self._asked:  # another request may have been faster
                self._make_room(team, stream, view)
                self._asked.add((team, stream, kind))
                self._follow(team, stream).reader.add(Computed((interval, symbol), bars, state))
        await self._read(view, stream, [kind])
        return view

    def _make_room(self, team: str, stream: str, view: StreamView) -> None:
        """Forget the computed series that nobody watches, if there are many."""
        series = [asked for asked in self._asked if asked[:2] == (team, stream) and asked[2][0] == "computed"]
        if len(series) < COMPUTED:
            return
        view.forget_idle()
        watched = 0
        for asked in series:
            key: Key = (asked[2][1], asked[2][2])
            if view.watched(key):
                watched += 1
                continue
            self._asked.discard(asked)
            self._follow(team, stream).reader.drop(key)
            view.forget(key)
        if watched >= COMPUTED:
            raise UserError(
                f"{COMPUTED} intervals that stream {stream!r} does not publish are watched: close some of them, or let "
                "the stream publish one (`lit stream set … --interval`)"
            )

    def symbols(self, team: str, stream: str) -> frozenset[str]:
        """Return the symbols seen in a stream, if it is followed; any thread may ask."""
        followed = self._followed.get((team, stream))
        return followed.view.symbols if followed else frozenset()

    async def _read(self, view: StreamView, stream: str, kinds: list[Kind]) -> None:
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                for kind in kinds:
                    await view.ready(kind).wait()
        except TimeoutError as error:
            raise FaultError(f"stream {stream!r} is still being read, or Kafka does not answer: try again") from error

    async def close(self) -> None:
        """Stop reading."""
        readers = [followed.reader for followed in self._followed.values()]
        self._followed.clear()
        self._asked.clear()
        for reader in readers:
            reader.stop()
        await asyncio.gather(*(run_in_threadpool(reader.join) for reader in readers))

    def _prepare(self, team: str, stream: str, interval: str | None, deployment: str | None) -> None:
        services = self._services
        known = services.intervals(team, stream)
        if interval and interval not in known:
            services.broker.forget()
            known = services.intervals(team, stream)
        if interval and interval not in known:
            raise NotFoundError(f"stream {stream!r} has no bars of {interval}: it has {', '.join(known)}")
        if deployment:
            found = services.deployments(team).get(deployment)
            if found is None or found.stream != stream:
                raise NotFoundError(f"stream {stream!r} of team {team!r} has no deployment {deployment!r}")
        wanted = [topics.ticks(team, stream)]
        if interval:
            wanted.append(topics.bars(team, stream, interval))
        if deployment:
            wanted += [topics.predictions(team, deployment), topics.scores(team, deployment)]
        topics.create_topics(services.config.bootstrap, *wanted, replication=services.config.replication)

    def _follow(self, team: str, stream: str) -> Followed:
        found = self._followed.get((team, stream))
        if found is None:
            view, loop = StreamView(), asyncio.get_running_loop()

            def deliver(batch: Batch) -> None:
                with contextlib.suppress(RuntimeError):  # the loop has ended, and we with it
                    loop.call_soon_threadsafe(self._apply, team, stream, view, batch)

            def failed() -> None:
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(self._forget, team, stream)

            reader = StreamReader(self._services.config.bootstrap, team, stream, deliver, failed)
            found = self._followed[team, stream] = Followed(view, reader)
        return found

    def _apply(self, team: str, stream: str, view: StreamView, batch: Batch) -> None:
        view.apply(batch)
        self._services.metrics.hub_lag.labels(team, stream).set(view.lag)

    def _forget(self, team: str, stream: str) -> None:
        """Drop a stream whose reader failed: whoever asks next opens it anew."""
        followed = self._followed.pop((team, stream), None)
        self._asked = {asked for asked in self._asked if asked[:2] != (team, stream)}
        if followed is not None:
            followed.view.ended.set()
