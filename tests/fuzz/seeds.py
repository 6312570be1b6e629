"""Good files that the mutators start from."""

from __future__ import annotations

import io
import json
import pickle
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from PIL import Image

import interpretdl as it
from interpretdl.testing import small_network
from tests import torch_files

PICTURES: dict[str, dict[str, dict[str, Any]]] = {
    "PNG": {"": {}, "frames": {"save_all": True}},
    "JPEG": {"": {}, "progressive": {"progressive": True}},
    "GIF": {"": {}, "frames": {"save_all": True}},
    "BMP": {"": {}},
    "TIFF": {
        "": {},
        "lzw": {"compression": "tiff_lzw"},
        "deflate": {"compression": "tiff_adobe_deflate"},
        "jpeg": {"compression": "jpeg"},
        "frames": {"save_all": True},
    },
    "WEBP": {"": {}, "lossless": {"lossless": True}, "frames": {"save_all": True}},
    "PPM": {"": {}},
    "ICO": {"": {}},  # none of the formats that are read
}


def pictures() -> list[bytes]:
    """One small file of each format and way to write it, grey ones and ones with alpha too."""
    pixels = np.random.default_rng(0).integers(0, 256, (2, 11, 13, 4), np.uint8)
    files = []
    for kind, ways in PICTURES.items():
        for options in ways.values():
            modes = ("RGB",) if options or kind == "ICO" else ("RGB", "L", "1", "P", "I;16", "RGBA")
            for mode in modes:
                first, second = (_image(each, mode) for each in pixels)
                more = {"append_images": [second]} if "save_all" in options else {}
                file = io.BytesIO()
                try:
                    first.save(file, kind, **options, **more)
                except (OSError, KeyError):  # a mode that the format does not have
                    continue
                files.append(file.getvalue())
    return files


def _image(pixels: Any, mode: str) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    return Image.fromarray(pixels).convert(mode)


def _written(write: Callable[[Path], Any]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.npz"
        write(path)
        return path.read_bytes()


def _arrays() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {k: rng.normal(size=s).astype(np.float32) for k, s in {"a": (2, 3), "b": (4,)}.items()}


def weights() -> list[bytes]:
    """Small files of weights: Paddle's pickles, torch's two formats, safetensors."""
    state = _arrays()
    files = [pickle.dumps({"state_dict": state, "epoch": 3}, n) for n in (2, 3, 4, 5)]
    files += [_written(lambda path, old=old: torch_files.write_arrays(path, state, old))  # type: ignore[misc]
              for old in (False, True)]  # fmt: skip
    return files


def torch_pickles() -> list[bytes]:
    """The pickle in torch's newer format, whose checksum would keep mutations out."""
    part = torch_files.tensor("FloatStorage", "0", 6, 0, (2, 3), (3, 1))
    return [b"\x80\x02" + torch_files.dictionary({"a": part, "b": part}) + b"."]


def plain_pickles() -> list[bytes]:
    """What programs keep beside weights: lists, tuples and dictionaries with arrays in them."""
    value = {"a": [(0, 0.5), (1, None)], 3: np.arange(3), "text": np.float32(1)}
    file = io.BytesIO()
    np.save(file, value, allow_pickle=True)  # type: ignore[arg-type]  # a dictionary
    several = io.BytesIO()
    np.savez(several, a=value, b={np.int64(1): value})  # type: ignore[arg-type]  # dictionaries
    return [*(pickle.dumps(value, n) for n in (2, 4, 5)), file.getvalue(), several.getvalue()]


def safetensors() -> list[bytes]:
    state = _arrays()
    head: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, array in state.items():
        offsets = [at, at := at + array.nbytes]
        head[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": offsets}
    text = json.dumps(head).encode()
    return [len(text).to_bytes(8, "little") + text + b"".join(map(bytes, state.values()))]


def explanations() -> list[bytes]:
    """The file that `Explanation.save` writes, and what is in it."""
    method = it.GradientInterpreter(small_network())
    explanation = method.explain(np.zeros((1, 3, 8, 8), np.float32), label=1)
    return [_written(explanation.save)]


BETWEEN = b"\n--\n"


def exported() -> list[bytes]:
    """A program and its parameters, with `BETWEEN` between them."""
    with tempfile.TemporaryDirectory() as folder:
        shape = paddle.static.InputSpec([None, 3, 8, 8], "float32", "x")
        paddle.jit.save(small_network(), f"{folder}/model", input_spec=[shape])
        return [
            BETWEEN.join(Path(folder, f"model{e}").read_bytes() for e in (".json", ".pdiparams"))
        ]


def runs() -> list[bytes]:
    """`run.json` and the one file of a run of three pictures, with `BETWEEN` between them."""
    from tests.stores import planted_store

    with tempfile.TemporaryDirectory() as folder:
        store = planted_store(Path(folder) / "run", 3, side=4)
        return [BETWEEN.join((store / n).read_bytes() for n in ("run.json", RUN_FILE))]


RUN_FILE = "shard-00000.parquet"


def write_run(folder: Path, rows: list[dict[str, Any]]) -> None:
    """A store of a run of four pictures by two methods, with those rows."""
    from interpretdl.data_processor.files import encodable
    from interpretdl.runs.store import begin, write_shard

    fingerprint = {"model": "net"}
    settings = {"methods": {"grad_cam": {}, "lrp": {}}, "metrics": {"deletion": {}}}
    begin(folder, {"fingerprint": fingerprint, "class_names": None, "pictures": 4, "shards": 1,
                   "shard_size": 4, "settings": settings})  # fmt: skip
    clean = [{k: encodable(v) if isinstance(v, str) else v for k, v in row.items()} for row in rows]
    write_shard(folder, 0, clean, ["deletion"], fingerprint)


def files(room: str) -> Iterator[bytes]:
    yield from {
        "pictures": pictures,
        "weights": weights,
        "torch pickles": torch_pickles,
        "plain pickles": plain_pickles,
        "safetensors": safetensors,
        "explanations": explanations,
        "exported": exported,
        "runs": runs,
    }[room]()
