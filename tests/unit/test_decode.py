"""One picture to the pixels that a person sees. What is right is worked out in NumPy or by hand."""

from __future__ import annotations

import io
import logging
import os
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from interpretdl.data_processor.readers import load_image, read_images
from interpretdl.errors import ImageReadError, InputError, InterpretWarning
from interpretdl.preprocessing import Preprocessing

SMALL = Preprocessing(resize=16, crop=12)


def picture(height: int = 20, width: int = 30, channels: int = 3, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, channels), dtype=np.uint8)


def saved(path: Path, array: Any, **options: Any) -> Path:
    Image.fromarray(array).save(path, **options)
    return path


def over_white(colour: Any, alpha: Any) -> Any:
    a = alpha.astype(float)[..., None] / 255
    return colour * a + 255 * (1 - a)


# --- what a person sees --------------------------------------------------------------------------

# What a viewer does to the stored pixels, from the TIFF specification's table of orientations.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "phone.png", picture(5, 7), exif=exif)
    np.testing.assert_array_equal(load_image(path), UPRIGHT[orientation](picture(5, 7)))


def test_16_bit_is_scaled_not_saturated(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 4096).astype(np.uint16).reshape(64, 64)
    want = np.rint(ramp / 257).astype(np.uint8)
    path = saved(tmp_path / "ramp.png", ramp)
    np.testing.assert_array_equal(load_image(path, channels=1)[..., 0], want)
    np.testing.assert_array_equal(load_image(path), np.stack([want] * 3, -1))
    np.testing.assert_array_equal(load_image(ramp, channels=1)[..., 0], want)
    as_int32 = Image.fromarray(ramp.astype(np.int32))
    np.testing.assert_array_equal(load_image(as_int32, channels=1)[..., 0], want)
    big_endian = saved(tmp_path / "ramp.tif", ramp.astype(">u2"))
    np.testing.assert_array_equal(load_image(big_endian, channels=1)[..., 0], want)


def test_pixels_of_unknown_range_are_refused() -> None:
    with pytest.raises(ImageReadError, match="floating-point"):
        load_image(Image.new("F", (4, 4)))
    with pytest.raises(ImageReadError, match="scale them"):
        load_image(Image.fromarray(np.full((4, 4), 70000, np.int32)))
    with pytest.warns(InterpretWarning, match="uint8"):
        load_image(np.full((4, 4), 255, np.uint16))


def test_rgba_and_la_are_composited_on_white(tmp_path: Path) -> None:
    rgba = picture(channels=4)
    path = saved(tmp_path / "a.png", rgba)
    want = over_white(rgba[..., :3], rgba[..., 3])
    assert np.abs(load_image(path) - want).max() <= 1
    np.testing.assert_array_equal(load_image(path, channels=4), rgba)
    la = Image.fromarray(rgba[..., :2])
    assert la.mode == "LA"
    la.save(tmp_path / "la.png")
    want = over_white(rgba[..., :1].repeat(3, -1), rgba[..., 1])
    assert np.abs(load_image(tmp_path / "la.png") - want).max() <= 1


def test_palette_and_grey_with_a_transparent_value(tmp_path: Path) -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putdata([0, 1])
    palette.save(tmp_path / "p.png", transparency=0)
    np.testing.assert_array_equal(load_image(tmp_path / "p.png"), [[[255] * 3, [40, 50, 60]]])
    palette.save(tmp_path / "solid.png")
    np.testing.assert_array_equal(
        load_image(tmp_path / "solid.png"), [[[10, 20, 30], [40, 50, 60]]]
    )
    grey = Image.fromarray(np.array([[7, 9]], np.uint8))
    grey.save(tmp_path / "l.png", transparency=7)
    np.testing.assert_array_equal(load_image(tmp_path / "l.png")[..., 0], [[255, 9]])
    deep = Image.fromarray(np.array([[7 * 257, 9 * 257]], np.uint16))
    deep.info["transparency"] = 7 * 257
    np.testing.assert_array_equal(load_image(deep)[..., 0], [[255, 9]])


def test_cmyk_grey_bilevel_and_other_colour_spaces(tmp_path: Path) -> None:
    cmyk = Image.new("CMYK", (8, 8), (0, 255, 255, 0))  # no cyan, full magenta and yellow: red
    cmyk.save(tmp_path / "c.jpg", quality=100)
    assert np.abs(load_image(tmp_path / "c.jpg").astype(int) - [255, 0, 0]).max() <= 3
    red = Image.new("RGB", (4, 4), (200, 30, 30))
    for mode, tolerance in (("YCbCr", 2), ("HSV", 4)):
        got = load_image(red.convert(mode)).astype(int)
        assert np.abs(got - [200, 30, 30]).max() <= tolerance, mode
    np.testing.assert_array_equal(load_image(Image.new("1", (2, 2), 1)), np.full((2, 2, 3), 255))
    lab = ImageCms.profileToProfile(
        red, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert np.abs(load_image(lab).astype(int) - [200, 30, 30]).max() <= 3


def test_icc_profile_is_used_and_a_broken_one_ignored_with_a_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # A profile with red and blue exchanged, so that what is right can be seen.
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    r, b = profile.index(b"rXYZ"), profile.index(b"bXYZ")
    profile[r : r + 4], profile[b : b + 4] = b"bXYZ", b"rXYZ"
    name = "sRGB built-in".encode("utf-16-be")
    at = profile.index(name)
    profile[at : at + len(name)] = "swapped space".encode("utf-16-be")
    pixels = np.zeros((4, 4, 3), np.uint8) + np.uint8([250, 20, 20])
    path = saved(tmp_path / "swapped.png", pixels, icc_profile=bytes(profile))
    got = load_image(path)[0, 0].astype(int)
    assert got[2] > 200
    assert got[0] < 60
    rgba = saved(
        tmp_path / "t.png", np.dstack([pixels, pixels[..., :1]]), icc_profile=bytes(profile)
    )
    assert (np.abs(load_image(rgba, channels=4)[0, 0].astype(int) - [*got, 250]) <= 1).all()
    assert not caplog.records
    broken = saved(tmp_path / "broken.png", pixels, icc_profile=b"nothing of the kind")
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(load_image(broken), pixels)
    assert "broken.png" in caplog.text
    assert "ICC" in caplog.text


def test_srgb_profile_changes_nothing(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = saved(tmp_path / "s.png", picture(), icc_profile=profile)
    np.testing.assert_array_equal(load_image(path), picture())


# --- several frames ------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["gif", "png", "tif", "webp"])
def test_first_frame_with_a_warning_or_the_one_asked_for(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (6, 6), c) for c in ((255, 0, 0), (0, 0, 255))]
    path = tmp_path / f"a.{suffix}"
    options: dict[str, Any] = {"lossless": True} if suffix == "webp" else {}
    frames[0].save(path, save_all=True, append_images=frames[1:], **options)
    with pytest.warns(InterpretWarning, match="more than one frame.*frame="):
        first = load_image(path)
    assert (first == [255, 0, 0]).all()
    assert (load_image(path, frame=0) == first).all()  # asked for: no warning
    assert (load_image(path, frame=1) == [0, 0, 255]).all()
    assert (load_image(path, frame=-1) == [0, 0, 255]).all()
    with pytest.raises(InputError, match=r"2 frame.*got frame=2"):
        load_image(path, frame=2)
    with Image.open(path) as image:
        image.seek(1)
        assert (load_image(image) == [0, 0, 255]).all()  # where its owner put it
        assert (load_image(image, frame=0) == [255, 0, 0]).all()
        assert image.tell() == 1


# --- refused -------------------------------------------------------------------------------------


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header promises many pixels, and little else."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body


@pytest.mark.parametrize("side", [9000, 12000, 20000])  # below, above, twice Pillow's own limits
def test_decompression_bomb_is_refused_before_decoding_without_warnings(
    tmp_path: Path, side: int
) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(bomb(side, side))
    limit = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageReadError, match=rf"bomb\.png.*{side} x {side}.*max_pixels"):
            load_image(path)
    assert limit == Image.MAX_IMAGE_PIXELS


def test_own_limit_and_every_page_of_a_stack(tmp_path: Path) -> None:
    path = tmp_path / "stack.tif"
    Image.new("L", (4, 4)).save(path, save_all=True, append_images=[Image.new("L", (90, 90))])
    assert load_image(path, frame=0, max_pixels=16).shape == (4, 4, 3)
    for frame in (0, 1):
        with pytest.raises(ImageReadError, match="max_pixels=15"):
            load_image(path, frame=frame, max_pixels=15)
    with pytest.raises(ImageReadError, match="90 x 90"):
        load_image(path, frame=1, max_pixels=1000)
    with pytest.raises(ImageReadError, match="long and thin"):
        read_images(Image.new("RGB", (1000, 1)), SMALL, resize_to=256)


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "tif", "webp", "ppm"])
@pytest.mark.parametrize("kept", [0.5, 0.05])
def test_truncated(tmp_path: Path, suffix: str, kept: float) -> None:
    path = saved(tmp_path / f"half.{suffix}", picture(60, 60))
    assert load_image(path).shape == (60, 60, 3)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(ImageReadError, match=rf"half\.{suffix}"):
        load_image(path)


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("empty.png", b"", "empty"),
        ("letter.png", b"Dear network,\n" * 9, "not an image; formats read are PNG, JPEG"),
        ("a.eps", EPS, "is EPS, which is not read"),
        ("magic.png", b"\x89PNG\r\n\x1a\n", "broken"),
    ],
)
def test_files_that_are_not_read(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(ImageReadError, match=rf"{name}.*{message}"):
        load_image(path)


def test_places_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(ImageReadError, match=r"no such file: .*nope\.png"):
        load_image(tmp_path / "nope.png")
    with pytest.raises(ImageReadError, match="is a directory"):
        load_image(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ImageReadError, match="not a regular file"):
        load_image(tmp_path / "pipe")  # opening it would wait for ever
    with pytest.raises(ImageReadError, match="cannot be opened"):
        load_image("null\0byte.png")
    with pytest.raises(ImageReadError, match="no such file: ''"):
        load_image("")
    with pytest.raises(InputError, match="text stream"):
        load_image(io.StringIO("text"))  # type: ignore[arg-type]  # the mistake is the point


def test_one_unreadable_file_among_many(tmp_path: Path) -> None:
    good = saved(tmp_path / "good.png", picture())
    bad = tmp_path / "bad.png"
    bad.write_bytes(good.read_bytes()[:100])
    batch = read_images([bad, good, tmp_path / "none.png", good], SMALL)
    assert batch.indices == (1, 3)
    assert batch.sources == (str(good), str(good))
    assert batch.inputs.shape[0] == batch.images.shape[0] == 2
    assert set(batch.failures) == {0, 2}
    assert "bad.png" in str(batch.failures[0])
    assert "none.png" in str(batch.failures[2])
    for alone in (bad, [bad]):
        with pytest.raises(ImageReadError, match=r"^'.*bad\.png"):
            read_images(alone, SMALL)
    with pytest.raises(ImageReadError, match=r"none of 2 .*bad\.png"):
        read_images([bad, bad], SMALL)
