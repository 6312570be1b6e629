"""The files of an exported model, and whether they are whole.

Paddle's readers trust what files say of themselves: a wrong size makes them ask for all memory,
and beside programs of Paddle 2 they look for a pickle, which could run anything. So parameters are
read here, and references within a program are checked before Paddle reads it.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, ResourceError, WeightsError
from ..pickles.files import brief, open_regular

__all__ = [
    "ModelFiles",
    "Shapes",
    "check_program",
    "malformed",
    "model_files",
    "read",
    "read_parameters",
]

Shapes = dict[str, tuple[int, ...]]
PARAMETERS = ".pdiparams"
PROGRAMS = (".json", ".pdmodel")
# Types by Paddle's numbers. 22 is bfloat16.
_TYPES = {
    **{0: "?", 1: "<i2", 2: "<i4", 3: "<i8", 4: "<f2", 5: "<f4", 6: "<f8"},
    **{20: "u1", 21: "i1", 22: "<u2", 23: "<c8", 24: "<c16"},
}
_MALFORMED = (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError)


@dataclass(frozen=True)
class ModelFiles:
    """Where a program and its parameters are.

    Attributes:
        prefix: the path without its ending, as Paddle wants it.
        program, parameters: the files; there need be no parameters.
    """

    prefix: Path
    program: Path
    parameters: Path

    @property
    def old(self) -> bool:
        """Whether it is a program of Paddle 2, .pdmodel."""
        return self.program.suffix == PROGRAMS[1]


def model_files(path: str | os.PathLike[str]) -> ModelFiles:
    """The files that a path means: the program's, the parameters', or both without the ending.

    Raises:
        InputError: it is no path.
        WeightsError: there is no such program.
    """
    if not isinstance(path, str | os.PathLike):
        raise InputError(
            "the path of an exported model is expected, such as 'inference.json'; got "
            f"{type(path).__name__}"
        )
    given = Path(path)
    known = given.suffix in (*PROGRAMS, PARAMETERS)
    prefix = given.with_suffix("") if known else given
    if given.suffix in PROGRAMS:
        endings: tuple[str, ...] = (given.suffix,)
    else:
        endings = PROGRAMS
    for ending in endings:
        program = prefix.with_name(prefix.name + ending)
        if program.exists():
            return ModelFiles(prefix, program, prefix.with_name(prefix.name + PARAMETERS))
    wanted = " or ".join(prefix.name + ending for ending in endings)
    raise WeightsError(
        f"no exported model {brief(str(given), 500)}: there is no {brief(wanted)} in "
        f"{brief(str(prefix.parent), 500)}. Give the file that paddle.jit.save wrote, "
        "such as inference.json, or its path without the ending"
    )


def malformed(path: Path, why: str) -> WeightsError:
    """The error for a file that is not what it should be."""
    return WeightsError(
        f"{brief(str(path), 500)} is damaged: {brief(why)}. Copy or export the model again"
    )


def read(path: Path) -> bytes:
    """A file's bytes.

    Raises:
        WeightsError: it cannot be read.
    """
    try:
        with open_regular(path) as file:
            return file.read()
    except WeightsError as error:
        raise WeightsError(f"{brief(str(path), 500)}: {error}") from error
    except OSError as error:
        why = error.strerror or str(error)
        raise WeightsError(f"cannot read {brief(str(path), 500)}: {brief(why)}") from error


# -- programs --------------------------------------------------------------------------------------


def check_program(path: Path) -> None:
    """Whether a .json file is a program in which every operation reads what was made before it.

    Raises:
        WeightsError: it is not.
    """
    try:
        root = json.loads(read(path))
        if root["base_code"]["magic"] != "pir":
            raise malformed(path, "it is not marked as a program of Paddle")
        for region in root["program"]["regions"]:
            for block in region["blocks"]:
                _check_block(block, set(), path)
    except _MALFORMED as error:
        what = "no JSON" if isinstance(error, ValueError) else "no program of Paddle"
        raise malformed(path, f"{what} ({type(error).__name__}: {error})") from error


def _check_block(block: Any, known: set[int], path: Path) -> None:
    known = {*known, *(each["%"] for each in block["args"])}
    for op in block["ops"]:
        for each in _listed(op.get("I", [])):
            if each["%"] and each["%"] not in known:  # 0 stands for nothing
                raise malformed(
                    path, f"operation {op['#']!r} reads value {each['%']}, which nothing made"
                )
        for region in op.get("regions", []):
            for inner in region["blocks"]:
                _check_block(inner, known, path)
        known.update(each["%"] for each in _listed(op["O"]))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


# -- parameters ------------------------------------------------------------------------------------


def read_parameters(path: Path, expected: Shapes) -> dict[str, NDArray[Any]]:
    """The arrays of a .pdiparams file, by their parameters' names.

    Args:
        expected: shapes by name. Paddle writes the arrays in the order of the names.

    Returns:
        arrays; those of bfloat16 as uint16, as Paddle has them in NumPy.

    Raises:
        WeightsError: the file holds other arrays, or something else.
    """
    if not expected:
        return {}
    if not path.exists():
        raise WeightsError(
            f"the program has {len(expected)} parameters, and their file {brief(str(path), 500)} "
            "is not there; put it beside the program"
        )
    try:
        with open_regular(path) as file:
            found = list(_arrays(file, path))
    except WeightsError as error:
        raise WeightsError(f"{brief(str(path), 500)}: {error}") from error
    except OSError as error:
        why = error.strerror or str(error)
        raise WeightsError(f"cannot read {brief(str(path), 500)}: {brief(why)}") from error
    except MemoryError as error:
        raise ResourceError(
            f"the parameters {brief(str(path), 500)} do not fit into memory"
        ) from error
    if len(found) != len(expected):
        raise malformed(path, f"{len(found)} arrays, where the program has {len(expected)}")
    named = dict(zip(sorted(expected), found, strict=True))
    for name, array in named.items():
        if array.shape != expected[name]:
            raise malformed(
                path,
                f"{brief(name)} is {list(array.shape)}, expected {list(expected[name])} by the "
                "program",
            )
    return named


def _arrays(file: IO[bytes], path: Path) -> Iterator[NDArray[Any]]:
    """The arrays in a file, one after the other."""
    size = os.fstat(file.fileno()).st_size

    def take(count: int) -> bytes:
        if not 0 <= count <= size - file.tell():
            raise malformed(path, f"it ends too early, after {size} bytes")
        return file.read(count)

    def number(form: str) -> int:
        (value,) = struct.unpack(form, take(struct.calcsize(form)))
        return int(value)

    while file.tell() < size:
        if number("<I") != 0:
            raise malformed(path, "another version of the format")
        for _ in range(number("<Q")):  # levels of a ragged tensor
            take(number("<Q"))
        if number("<I") != 0:
            raise malformed(path, "another version of the format")
        dtype, shape = _description(take(number("<i")), path)
        data = take(math.prod(shape) * dtype.itemsize)
        try:
            yield np.frombuffer(data, dtype).reshape(shape)
        except (ValueError, OverflowError) as error:
            raise malformed(path, f"no array has the shape {list(shape)}") from error


def _description(data: bytes, path: Path) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Type and shape, of a serialized `TensorDesc`."""
    kind, at = -1, 0
    shape: list[int] = []
    wrong = malformed(path, "an array without a type and shape")

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            if at >= len(data) or shift > 63:
                raise wrong
            byte = data[at]
            value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
            if byte < 128:
                return value

    while at < len(data):
        tag = varint()
        if tag == 8:
            kind = varint()
        elif tag == 16:
            shape.append(varint())
        elif tag == 18:
            end = varint() + at
            while at < end:
                shape.append(varint())
        else:
            raise wrong
    if kind not in _TYPES or len(shape) > 16:
        raise wrong
    return np.dtype(_TYPES[kind]), tuple(shape)
