"""Arguments that are none: typed errors that say what was given, whatever it was."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from interpretdl.data_processor.readers import (
    crop_image,
    load_image,
    preprocess_image,
    preprocess_save_path,
    read_arrays,
    read_image,
    read_images,
    resize_image,
    restore_image,
)
from interpretdl.errors import ImageReadError, InputError
from interpretdl.preprocessing import Preprocessing

SMALL = Preprocessing(resize=16, crop=12)
PICTURE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def encoded(array: Any, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind)
    return buffer.getvalue()


PNG = encoded(PICTURE, "PNG")


WRONG = ["1", True, 1.5, float("nan"), [], {}, b"1", np.bool_(True), np.array([1]), 10**5000]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: type(wrong).__name__)
@pytest.mark.parametrize("option", ["frame", "max_pixels", "resize_to", "crop_to"])
def test_options_of_a_wrong_type(option: str, wrong: Any) -> None:
    with pytest.raises(InputError, match=rf"^{option} must be .{{,100}}$"):
        read_images(PNG, SMALL, **{option: wrong})


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: type(wrong).__name__)
@pytest.mark.parametrize("option", ["resize", "crop", "mean", "std"])
def test_preprocessing_of_a_wrong_type(option: str, wrong: Any) -> None:
    with pytest.raises(InputError, match=rf"^({option} |mean and std )must .{{,100}}$"):
        Preprocessing(**{option: wrong})


@pytest.mark.parametrize(
    "call",
    [
        lambda wrong: load_image(PICTURE, channels=wrong),
        lambda wrong: load_image(PICTURE, frame=wrong),
        lambda wrong: load_image(Image.fromarray(PICTURE), frame=wrong),
        lambda wrong: crop_image(PICTURE, wrong),
        lambda wrong: resize_image(PICTURE, wrong),
        lambda wrong: read_image(PNG, wrong),
        lambda wrong: read_images(PNG, Preprocessing(interpolation=wrong)),
        lambda wrong: resize_image(PICTURE, 5, wrong),
        lambda wrong: preprocess_image(wrong),
        lambda wrong: restore_image(wrong),
        lambda wrong: preprocess_save_path("a", wrong),
    ],
)
@pytest.mark.parametrize("wrong", WRONG[:-2], ids=lambda wrong: type(wrong).__name__)
def test_other_arguments_of_a_wrong_type(call: Any, wrong: Any) -> None:
    with pytest.raises(InputError):
        call(wrong)


@pytest.mark.parametrize(
    "wrong", [None, 0, -1, -(10**5000), "9" * 10**6], ids=lambda wrong: type(wrong).__name__
)
def test_max_pixels_is_a_positive_whole_number(wrong: Any) -> None:
    with pytest.raises(InputError, match=r"^max_pixels must be .{,100}$"):
        load_image(PNG, max_pixels=wrong)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("read", [load_image, read_images, read_image, read_arrays])
def test_masked_arrays_are_refused(read: Any, dtype: Any) -> None:
    shape = (1, 3, 8, 8) if read is read_images and dtype == np.float32 else (2, 8, 8, 3)
    array = np.ma.masked_equal(np.zeros(shape, dtype), 0)
    for given in (array[0] if read is load_image else array, [array[0], array[0]]):
        if isinstance(given, np.ndarray) or read in (read_images, read_arrays):
            with pytest.raises(InputError, match=r"masked array.*filled"):
                read(given)


class Tensor:
    def __init__(self, given: Any) -> None:
        self.given = given

    def numpy(self) -> Any:
        if isinstance(self.given, Exception):
            raise self.given
        return self.given


class Read:
    """Has a `read`, and is no file."""

    def __init__(self, given: Any, seekable: bool) -> None:
        self.given, self.seeks = given, seekable

    def seekable(self) -> bool:
        return self.seeks

    def seek(self, *_: Any) -> int:
        return 0

    def read(self, *_: Any) -> Any:
        return self.given


class Array:
    def __array__(self, *_: Any, **__: Any) -> Any:
        return PICTURE


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (io.StringIO("text"), "text stream.*'rb'"),
        (io.StringIO(""), "text stream.*'rb'"),
        (Read("text", seekable=False), "text stream.*'rb'"),
        (Read("text", seekable=True), "text stream.*'rb'"),
        (Read(5, seekable=True), "gives int, not bytes"),
        (Tensor(RuntimeError("requires grad")), r"numpy\(\) fails: requires grad"),
        (Tensor(None), "of type NoneType"),
        (Tensor([1]), "of type list"),
        (Array(), "of type Array"),
    ],
)
def test_objects_that_are_no_pictures(given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_images(given, SMALL)


@pytest.mark.parametrize(
    "given",
    [
        Read(5, seekable=False),
        Read(None, seekable=True),
        Read(b"\x89PNG", seekable=True),
        io.BytesIO,
        memoryview(b"")[::2],
    ],
)
def test_objects_that_are_no_files(given: Any) -> None:
    batch = read_images([given, PICTURE], SMALL)
    assert batch.indices == (1,)


def test_a_text_file_is_no_binary_one(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    with (
        (tmp_path / "a.png").open(encoding="utf-8") as stream,
        pytest.raises(InputError, match=r"a\.png' is a text stream"),
    ):
        load_image(stream)


def test_a_view_with_steps_is_read() -> None:
    doubled = bytes(value for value in PNG for _ in range(2))
    np.testing.assert_array_equal(load_image(memoryview(doubled)[::2]), PICTURE)


@pytest.mark.parametrize("frame", [None, 0, 1])
def test_a_closed_image(frame: int | None) -> None:
    image = Image.open(io.BytesIO(encoded(PICTURE, "GIF")))
    image.close()
    with pytest.raises((ImageReadError, InputError)):
        load_image(image, frame=frame)


@pytest.mark.parametrize("clear", [b"\0\1", (1, 2, 3), "x", None, -1])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I;16", "CMYK", "La", "HSV"])
def test_transparency_of_any_kind(mode: str, clear: Any) -> None:
    image = Image.new(mode, (4, 5))
    image.info["transparency"] = clear
    try:
        shape = load_image(image).shape
    except ImageReadError:
        return
    assert shape == (5, 4, 3)


def test_numbers_at_the_end_of_their_range() -> None:
    x = np.full((1, 3, 4, 4), np.finfo(np.float32).max, np.float32)
    assert (read_images(x, Preprocessing(std=(255.0,) * 3)).images == 255).all()
    with pytest.raises(InputError, match="inf in image 0"):
        read_images(x.astype(np.longdouble) ** 100, SMALL)
