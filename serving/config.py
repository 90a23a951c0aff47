"""What a deployment's worker needs to know; names of everything follow from it."""

from __future__ import annotations

from dataclasses import dataclass

from lit.features.intervals import Interval
from lit.processors.delivery import read_messages
from lit.streams import topics
from lit.streams.clients import producer
from lit.streams.errors import FaultError, UserError

#: Ends the names of the topics of shadow models.
SHADOW = ".shadow"
#: Key in the state topic: which bars a deployment predicts at.
BARS_OF = b"bars of"


@dataclass(frozen=True)
class DeploymentConfig:
    """A deployment as its file in `preview/` describes it.

    Parameters
    ----------
    tickers
        Symbols that are served, with or without their venue (`AAPL` is `AAPL.O` too); none: all.
    """

    bootstrap: str
    team: str
    name: str
    stream: str
    interval: Interval
    tickers: tuple[str, ...] = ()
    replication: int = 1

    def serves(self, symbol: str) -> bool:
        """Whether a symbol is wanted."""
        return serves(self.tickers, symbol)

    @property
    def app_id(self) -> str:
        """Consumer group and begin of the transactional ids."""
        return f"lit.{self.team}.deployment.{self.name}".replace(" ", "_")

    @property
    def ticks_topic(self) -> str:
        """The input."""
        return topics.ticks(self.team, self.stream).name

    @property
    def predictions_topics(self) -> tuple[str, str]:
        """Predictions, and those of shadow models."""
        return (
            topics.predictions(self.team, self.name).name,
            topics.predictions(self.team, self.name + SHADOW).name,
        )

    @property
    def scores_topics(self) -> tuple[str, str]:
        """Scores, and those of shadow models."""
        return topics.scores(self.team, self.name).name, topics.scores(self.team, self.name + SHADOW).name

    @property
    def state_topic(self) -> str:
        """Where each partition's progress is kept."""
        return topics.state(self.team, "deployment", self.name).name

    def create_topics(self) -> None:
        """Create input, outputs and state as far as they are missing, and say in the state whose bars they are of.

        Raises
        ------
        UserError
            If they are of another stream's bars, or of another interval: a deployment of this name was removed, and
            what it published, and how far it came, is there.
        """
        wanted = [topics.ticks(self.team, self.stream), topics.state(self.team, "deployment", self.name)]
        for name in (self.name, self.name + SHADOW):
            wanted += [topics.predictions(self.team, name), topics.scores(self.team, name)]
        topics.create_topics(self.bootstrap, *wanted, replication=self.replication)
        self._claim()

    def _claim(self) -> None:
        mine, theirs = f"{self.interval} of {self.stream!r}", None
        for message in read_messages(self.bootstrap, self.state_topic, 0):
            if message.key() == BARS_OF:
                theirs = bytes(message.value() or b"").decode()
        if theirs is None:
            sender = producer(self.bootstrap)
            sender.produce(self.state_topic, mine.encode(), BARS_OF, partition=0)
            if sender.flush(30.0):
                raise FaultError(f"{self.state_topic} could not be written: is the broker up?")
        elif theirs != mine:
            raise UserError(
                f"an earlier deployment {self.name!r} predicted at bars of {theirs}, and its topics hold that: choose "
                f"another name for bars of {mine}"
            )


def serves(tickers: tuple[str, ...], symbol: str) -> bool:
    """Whether a symbol is wanted: all are without tickers, and `AAPL` means `AAPL.O` too."""
    return not tickers or symbol in tickers or symbol.rpartition(".")[0] in tickers
