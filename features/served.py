"""An adapter for a script in a child process whose data stay with the parent: reads go over a socket, one at a time.

So a feature is tried at any index of a dataset of any size at once, and the child needs no access to the store.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from lit.features.window import KEPT_BARS
from lit.streams.errors import UserError
from lit.streams.tick import Float64Array, Int64Array

_LENGTH = struct.Struct(">I")
#: What one request may be, and what one answer may hold: the parent's memory is not the script's.
_REQUEST_BYTES, _ANSWER_NUMBERS = 64 << 20, 16_000_000
_ERRORS: dict[str, type[Exception]] = {"IndexError": IndexError, "UserError": UserError, "KeyError": KeyError}


class Server:
    """Answers a child's reads of an adapter, in a thread, until the child closes its end.

    Parameters
    ----------
    adapter
        What is read (`TradersBaseAdapter`).
    """

    def __init__(self, adapter: Any) -> None:
        self._adapter = adapter
        self._own, self._childs = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, name="served-adapter", daemon=True)

    @property
    def child_fd(self) -> int:
        """The file descriptor to be passed to the child."""
        return self._childs.fileno()

    def start(self) -> None:
        """Begin, once the child has its end."""
        self._childs.close()
        self._thread.start()

    def close(self) -> None:
        """End: a read that is under way is not waited for."""
        for end in (self._own, self._childs):
            end.close()

    def _serve(self) -> None:
        try:
            while (request := _receive(self._own, _REQUEST_BYTES)) is not None:
                _send(self._own, self._answer(request))
        except (OSError, ValueError, msgspec.MsgspecError):
            return  # the child is gone, or sends what no child of ours would

    def _answer(self, request: Any) -> Any:
        try:
            return {"value": _packed(getattr(self, f"_{request['read']}")(*map(_unpacked, request["arguments"])))}
        except Exception as error:  # whatever a script asks for in a wrong way is an error of that script
            name = next((name for name, kind in _ERRORS.items() if isinstance(error, kind)), "UserError")
            return {"error": name, "text": str(error.args[0] if error.args else error)}

    def _length(self) -> int:
        return len(self._adapter)

    def _packet(self, index: int) -> Any:
        return self._adapter[int(index)]

    def _column(self, name: str, indices: Any) -> Any:
        return self._adapter.column(str(name), _bounded(indices, 1))

    def _bars(self, index: int, count: int, *options: Any) -> Any:
        return self._adapter.get_bars(int(index), min(int(count), KEPT_BARS), *options)

    def _bars_batch(self, indices: Any, count: int, *options: Any) -> Any:
        return self._adapter.get_bars_batch(_bounded(indices, 8 * int(count)), int(count), *options)


class ServedAdapter:
    """What the script sees (`TradersBaseAdapter`).

    Parameters
    ----------
    fd
        The socket's file descriptor, as `Server.child_fd` told it.
    """

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._known: dict[bytes, Any] = {}
        #: Seconds that were spent on waiting for data.
        self.waited = 0.0

    def __len__(self) -> int:
        return int(self._ask("length"))

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self._ask("packet", int(index))  # type: ignore[no-any-return]

    def column(self, name: str, indices: Int64Array) -> npt.NDArray[Any]:
        """Return one field of many ticks."""
        return np.asarray(self._ask("column", name, np.asarray(indices, np.int64)))

    def get_bars(
        self,
        index: int,
        count: int,
        unit: str,
        size: float,
        future: bool = False,
        prevent_lookahead_bias: bool = True,
    ) -> Float64Array:
        """Return bars."""
        found = self._ask("bars", int(index), int(count), unit, size, bool(future), bool(prevent_lookahead_bias))
        return found.copy()  # type: ignore[no-any-return]

    def get_bars_batch(
        self,
        indices: Int64Array,
        count: int,
        unit: str,
        size: float,
        future: bool = False,
        prevent_lookahead_bias: bool = True,
    ) -> tuple[Float64Array, Int64Array]:
        """Return bars of many indices."""
        wanted = np.asarray(indices, np.int64)
        options = (int(count), unit, size, bool(future), bool(prevent_lookahead_bias))
        values, lengths = self._ask("bars_batch", wanted, *options)
        return values.copy(), lengths.copy()

    def _ask(self, read: str, *arguments: Any) -> Any:
        began = time.perf_counter()
        request = msgspec.msgpack.encode({"read": read, "arguments": [_packed(one) for one in arguments]})
        reply = self._known.get(request)  # a script is computed twice, to take its time
        if reply is None:
            self._socket.sendall(_LENGTH.pack(len(request)) + request)
            reply = _receive(self._socket, 1 << 32)
            if reply is None:
                raise UserError("the data can no longer be read: the server has ended")
            self._known[request] = reply
        self.waited += time.perf_counter() - began
        if "error" in reply:
            raise _ERRORS[reply["error"]](reply["text"])
        return _unpacked(reply["value"])


def _bounded(wanted: Any, numbers_each: int) -> Int64Array:
    indices = np.asarray(wanted, np.int64)
    asked = indices.size * max(numbers_each, 1)
    if asked > _ANSWER_NUMBERS:
        raise UserError(f"one read asks for {asked:,} numbers: at most {_ANSWER_NUMBERS:,} at once")
    return indices


def _packed(value: Any) -> Any:
    if isinstance(value, tuple):
        return {"tuple": [_packed(one) for one in value]}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {"plain": {name: _packed(one) for name, one in value.items()}}
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype == object:
        return {"objects": value.tolist()}
    return {"dtype": value.dtype.str, "shape": list(value.shape), "data": np.ascontiguousarray(value).tobytes()}


def _unpacked(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if "tuple" in value:
        return tuple(_unpacked(one) for one in value["tuple"])
    if "objects" in value:
        return np.array(value["objects"], object)
    if "plain" in value:
        return {name: _unpacked(one) for name, one in value["plain"].items()}
    return np.frombuffer(value["data"], value["dtype"]).reshape(value["shape"])


def _send(end: socket.socket, value: Any) -> None:
    data = msgspec.msgpack.encode(value)
    end.sendall(_LENGTH.pack(len(data)) + data)


def _receive(end: socket.socket, limit: int) -> Any:
    head = _exactly(end, _LENGTH.size)
    if head is None:
        return None
    size = _LENGTH.unpack(head)[0]
    if size > limit:
        raise ValueError(f"a request of {size} bytes")
    data = _exactly(end, size)
    return None if data is None else msgspec.msgpack.decode(data)


def _exactly(end: socket.socket, size: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < size:
        piece = end.recv(min(size - len(parts), 1 << 20))
        if not piece:
            return None
        parts += piece
    return bytes(parts)
