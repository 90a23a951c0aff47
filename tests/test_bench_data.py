"""The rehearsal's files are the same at every run, however they are cut, and its plan reaches each size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lit.bench import synthetic
from lit.bench.data import FILE_TICKS, Plan, plan
from lit.bench.synthetic import PIECE, write_file
from lit.streams.errors import UserError


def test_a_plan_reaches_each_size_with_files_of_bounded_length(tmp_path: Path) -> None:
    found = plan(tmp_path, [25 * PIECE, PIECE, 100 * PIECE])
    ends = [first + count for _, first, count in found.files]
    assert found.sizes == (PIECE, 25 * PIECE, 100 * PIECE) and set(found.sizes) <= set(ends)
    assert [first for _, first, _ in found.files] == [0, *ends[:-1]] and ends[-1] == 100 * PIECE
    assert max(count for _, _, count in found.files) <= FILE_TICKS
    assert [path for path, _, _ in found.files] == sorted(path for path, _, _ in found.files)
    for wrong in ([], [0], [PIECE + 1]):
        with pytest.raises(UserError, match="millions"):
            plan(tmp_path, wrong)
    full = Plan(tmp_path, (10**15,), ())
    with pytest.raises(UserError, match="are free"):
        full.check_space()


def test_the_ticks_are_the_same_however_they_are_cut_into_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 50_000
    monkeypatch.setattr(synthetic, "PIECE", size)
    write_file(tmp_path / "both.parquet", 0, 2 * size)
    write_file(tmp_path / "one.parquet", 0, size)
    write_file(tmp_path / "two.parquet", size, size)
    parts = pa.concat_tables([pq.read_table(tmp_path / name) for name in ("one.parquet", "two.parquet")])
    whole = pq.read_table(tmp_path / "both.parquet")
    assert whole.equals(parts)
    stamps = whole.column("timestamp").to_numpy()
    late = (stamps < np.maximum.accumulate(stamps)).mean()
    assert 0 < late < 0.2 and (whole.column("price").to_numpy() > 0).all()
