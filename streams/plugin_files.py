"""What installed plugins ship as files: source adapters, stream adapters, feature scripts."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def plugin_files(kind: str, name: str = "[!_]*.py") -> list[Path]:
    """Return the files of a folder that plugins may have, `{plugin}/{kind}/`, in order of plugin and name.

    Parameters
    ----------
    name
        Pattern of their names; those that begin with `_` are none of users' business.
    """
    spec = importlib.util.find_spec("lit.plugins")
    roots = (spec.submodule_search_locations or []) if spec else []
    return sorted(file for root in roots for file in Path(root).glob(f"*/{kind}/{name}"))
