"""Opens HDF5 files of samples without trusting them: nothing outside of a file is read, no size is believed unseen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from lit.streams.errors import FaultError, UserError

#: One sample of one feature; a batch of them must fit in memory.
MAX_SAMPLE_BYTES = 64 * 1024 * 1024
#: Compression never reaches this; a dataset that claims more than that times what it stores is made to hurt.
MAX_EXPANSION = 2000
#: Below this size a claim does no harm, so files with few, constant values pass.
HARMLESS_BYTES = 256 * 1024 * 1024
_KINDS = "fiub"


def open_samples(path: Path) -> h5py.File:
    """Open a file for reading.

    Raises
    ------
    FaultError
        If it is not HDF5, or cut off.
    """
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise FaultError(f"asset file {path} is not readable as HDF5 ({error}): build it again") from error


def leads_outside(group: h5py.Group, name: str) -> str | None:
    """Say how a member of a group may read what is not in the file; None: it does not."""
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        return f"{name!r} is a link, which may lead out of the file"
    item = group[name]
    if isinstance(item, h5py.Dataset) and (item.is_virtual or item.external):
        return f"{name!r} has its data outside of the file"
    return None


def sample_datasets(file: h5py.File, path: Path) -> dict[str, h5py.Dataset]:
    """Return a file's datasets by name, the first axis of each being the samples.

    Raises
    ------
    UserError
        If the file has links, groups, virtual or external data, values that are no numbers or text, or sizes beyond
        reason: it is not one of ours.
    """
    found: dict[str, h5py.Dataset] = {}
    for name in file:
        if reason := leads_outside(file, name):
            raise _refusal(path, reason)
        item = file[name]
        if not isinstance(item, h5py.Dataset):
            raise _refusal(path, f"{name!r} is a group, and samples have none")
        _check_size(path, name, item)
        found[name] = item
    return found


def check_provenance(item: h5py.Dataset | None, name: str, path: Path) -> None:
    """Refuse an `index`, `timestamp` or `symbol` that is not one number or text a sample; a file may lack them.

    Raises
    ------
    UserError
        If it is something else.
    """
    if item is None:
        return
    fits = h5py.check_string_dtype(item.dtype) is not None if name == "symbol" else item.dtype.kind in "iu"
    if len(item.shape) != 1 or not fits:
        wanted = "text" if name == "symbol" else "whole numbers"
        raise _refusal(path, f"its {name} has the shape {item.shape} of {item.dtype}, and is {wanted}, one a sample")


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what HDF5 says of damaged data into a sentence."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        text = " ".join(str(error).split())[:200]
        raise FaultError(f"asset file {path} is damaged ({text}): build it again") from error


def _check_size(path: Path, name: str, item: h5py.Dataset) -> None:
    if not item.shape or len(item.shape) > 3:
        raise _refusal(path, f"{name!r} has the shape {item.shape}, and samples have 1 to 3 axes")
    text = h5py.check_string_dtype(item.dtype) is not None
    if not text and item.dtype.kind not in _KINDS:
        raise _refusal(path, f"{name!r} has values of type {item.dtype}, neither numbers nor text")
    sample = item.dtype.itemsize * int(np.prod(item.shape[1:], dtype=object))
    if sample > MAX_SAMPLE_BYTES:
        raise _refusal(path, f"{name!r} has the shape {item.shape}: a sample of {sample:,} bytes")
    claimed = sample * item.shape[0]
    if claimed > max(HARMLESS_BYTES, MAX_EXPANSION * item.id.get_storage_size()):
        raise _refusal(path, f"{name!r} claims the shape {item.shape}, but almost nothing of it is stored")


def _refusal(path: Path, reason: str) -> UserError:
    return UserError(f"asset file {path} is refused: {reason}")
