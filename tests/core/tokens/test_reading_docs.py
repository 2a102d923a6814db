"""What docs/reading.md tells strangers to run, run as they would."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fwd2bot_core.tokens import manifest
from fwd2bot_core.tokens.codec import as_stored
from fwd2bot_core.tokens.codec_name import NAMES, CodecName
from fwd2bot_core.tokens.numbers import widened
from tests.core.tokens.arrays import DTYPES
from tests.core.tokens.shards import made, spec_of

DOCS = Path(__file__).parents[3] / "docs" / "reading.md"
RECIPES = re.findall(r"```\w+\n(.*?)```", DOCS.read_text(), re.DOTALL)
BLOCKS = dict(zip(("duckdb", "pyarrow", "polars", "pandas", "numbers"), RECIPES, strict=True))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("codec", NAMES)
def test_numpy_alone_reads_every_codec(codec: CodecName, dtype: str, tmp_path: Path) -> None:
    shard = made(5, spec_of(dtype, d=40), codec=codec)
    (tmp_path / "shard.parquet").write_bytes(shard.data)
    names: dict[str, Any] = {}
    exec(BLOCKS["numbers"].replace("{shard}", str(tmp_path / "shard.parquet")), names)
    ours = widened(as_stored(shard.tokens, shard.spec, codec), shard.spec)
    once = {"float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}[dtype]  # rounded to the dtype
    np.testing.assert_allclose(names["tokens"], ours, rtol=once if codec != "exact" else 0)


def test_the_recipes_are_those_that_the_tests_of_the_manifest_run() -> None:
    said = [BLOCKS[engine].strip() for engine in ("duckdb", "pyarrow", "polars", "pandas")]
    assert said == [manifest.DUCKDB, manifest.PYARROW, manifest.POLARS, manifest.PANDAS]
