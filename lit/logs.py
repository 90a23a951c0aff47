"""Logs to stderr: one line a record, as text or as JSON (`LIT_LOG_FORMAT=json`) for those who collect them."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from lit.settings import Settings

TEXT = "%(asctime)s.%(msecs)03d %(process)d %(levelname)s %(name)s - %(funcName)s: %(message)s"
#: What libraries tell of their daily work is noise here.
CHATTY = ("faust", "mode", "aiokafka", "kafka", "lit.api.access", "uvicorn", "httpx")
#: A library may say the same once in this time: without its broker, aiokafka has some seventy lines a second.
REPEAT_SECONDS = 10.0


class JsonLines(logging.Formatter):
    """A record as a JSON object: time (ISO 8601, UTC), level, logger, function, process, message, error."""

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line."""
        line = {
            "time": f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "function": record.funcName,
            "process": record.process,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


class Repeats(logging.Filter):
    """Passes what libraries repeat once in `REPEAT_SECONDS`, with how often it was said meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[tuple[str, object], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether a record is shown."""
        if record.name.partition(".")[0] not in CHATTY:
            return True
        key = record.name, record.msg
        shown, unheard = self._said.get(key, (-REPEAT_SECONDS, 0))
        if record.created - shown < REPEAT_SECONDS:
            self._said[key] = shown, unheard + 1
            return False
        self._said[key] = record.created, 0
        if unheard:
            record.msg = f"{record.msg} (and {unheard} times since it was last told)"
        return True


def configure(settings: Settings) -> None:
    """Log to stderr at the level and in the format of the settings."""
    handler = logging.StreamHandler()
    handler.addFilter(Repeats())
    text = logging.Formatter(TEXT, "%Y-%m-%d %H:%M:%S")
    handler.setFormatter(JsonLines() if settings.log_format == "json" else text)
    logging.basicConfig(level=settings.log_level, handlers=[handler])
    for name in CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))
