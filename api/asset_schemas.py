"""Answers of the asset routes that are made here; the rest are the trainer's own records."""

from __future__ import annotations

from typing import Any

import msgspec

from lit.trainer.asset import Asset
from lit.trainer.asset_sample import AssetSample
from lit.trainer.promotions import AssetStatus, CheckedPart, Promotion


class Assets(msgspec.Struct, frozen=True):
    """A team's assets, by name."""

    assets: list[AssetStatus]


class FeatureOfAsset(msgspec.Struct, frozen=True):
    """A feature: the shape of one sample, and its columns' names."""

    name: str
    shape: list[int]
    columns: list[str]


class AssetDetail(msgspec.Struct, frozen=True):
    """An asset: its state, its features, the frozen schema that it was built from, its promotions, oldest first."""

    status: AssetStatus
    digest: str
    samples: int
    features: list[FeatureOfAsset]
    schema: dict[str, Any]
    history: list[Promotion]

    @classmethod
    def of(cls, status: AssetStatus, train: Asset, history: list[Promotion]) -> AssetDetail:
        """Describe an open asset."""
        specs = [FeatureOfAsset(one.name, list(one.shape), list(one.columns)) for one in train.features.values()]
        return cls(status, train.digest, len(train), specs, train.schema, history)


class AuditProgress(msgspec.Struct, frozen=True):
    """An audit that is being made: what it looks at, and how many features of how many are done."""

    what: str
    done: int
    total: int


class Samples(msgspec.Struct, frozen=True):
    """Samples in the part's order, of how many in all."""

    total: int
    samples: list[AssetSample]


class VerifiedAsset(msgspec.Struct, frozen=True):
    """Both parts of an asset, digested anew."""

    parts: list[CheckedPart]
