"""The README of a store: what its columns are, and how it is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["about"]


def about(content: Mapping[str, Any]) -> str:
    """The store's README, from what `run.json` holds."""
    settings = content["settings"]
    metrics = "".join(
        f"| `metric_{name}` | double | the metric; empty where it has no value |\n"
        for name in sorted(settings["metrics"])
    )
    count = content["pictures"]
    return _TEXT.format(
        pictures=f"{count} picture{'s' * (count != 1)}",
        methods=", ".join(sorted(settings["methods"])), metrics=metrics,
    )  # fmt: skip


_TEXT = """\
# Explanations of {pictures}

Written by interpretdl (`interpretdl run`, `interpretdl.run`). Methods: {methods}. `run.json` says
what the rows were made with. `shard-*.parquet` have a row for each picture and method, sorted by
both; a file is complete or not there.

    duckdb -c "SELECT method, prediction_name, count(*) FROM 'shard-*.parquet' GROUP BY ALL"
    python -c "import pandas; print(pandas.read_parquet('shard-00000.parquet'))"
    python -c "import interpretdl as it; print(it.open_run('.').table())"

| column | type | what it is |
|---|---|---|
| `picture` | int64 | position in the source, from 0 |
| `path` | string | as it was given; relative to the folder that the run was started in |
| `digest` | string | SHA-256 of the file; a fingerprint of the pixels where a data set gave them |
| `method` | string | name of the method |
| `error` | string | why there is no map; there is nothing but a label then |
| `prediction` | int64 | the most likely class |
| `prediction_name` | string | its name |
| `probability` | float | its probability |
| `probabilities` | list of float | of all classes |
| `label` | int64 | the class that was given with the picture |
| `label_name` | string | its name |
| `target` | int64 | the class that is explained |
| `score` | float | the number that is explained, such as the class's logit |
| `diagnostics` | string | JSON: what the method says of itself, and why a metric has no value |
{metrics}| `map` | list of half float | row by row, divided by `map_scale`: the largest is 1 or −1 |
| `map_scale` | float | the largest size in the map |
| `map_height`, `map_width` | int32 | the map's size |
| `signed` | boolean | whether values below zero speak against the class |
"""
