"""Answers about datasets as the OpenAPI document shows them."""

from __future__ import annotations

from pydantic import BaseModel


class SymbolView(BaseModel):
    """A symbol of a dataset."""

    symbol: str
    ticks: int


class PartView(BaseModel):
    """A file's ticks of one symbol: the dataset's indices `index` … `index` + `ticks` − 1."""

    path: str
    symbol: str
    index: int
    ticks: int


class DatasetView(BaseModel):
    """Cached files as one dataset; `fields` are what can be searched, each with its kind; times are ISO 8601 UTC."""

    adapter: str
    ticks: int
    first: str
    last: str
    symbols: list[SymbolView]
    parts: list[PartView]
    fields: dict[str, str]


class IndexView(BaseModel):
    """A tick's index."""

    index: int


class SearchView(BaseModel):
    """What a search came to.

    `indices` are the matching ticks of the window, which has `ticks` ticks. Of the dataset's `total` ticks the first
    `searched` were counted, and `matches` of them match; `complete`: that is the whole. Asked again, a count goes on.
    """

    indices: list[int]
    ticks: int
    matches: int
    searched: int
    total: int
    complete: bool
