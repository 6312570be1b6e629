"""Pictures and arrays in every form to one batch. What is right comes from NumPy or Paddle."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from interpretdl.data_processor import readers
from interpretdl.data_processor.readers import load_image, read_images
from interpretdl.errors import InputError
from interpretdl.preprocessing import Preprocessing

SMALL = Preprocessing(resize=16, crop=12)


def picture(height: int = 20, width: int = 30, channels: int = 3, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, channels), dtype=np.uint8)


def as_file(*size: int) -> Image.Image:
    """A picture that is resized and cropped, as arrays are not."""
    return Image.fromarray(picture(*size))


def saved(path: Path, array: Any, **options: Any) -> Path:
    Image.fromarray(array).save(path, **options)
    return path


def over_white(colour: Any, alpha: Any) -> Any:
    a = alpha.astype(float)[..., None] / 255
    return colour * a + 255 * (1 - a)


# --- forms ---------------------------------------------------------------------------------------


def test_every_form_of_one_picture_gives_the_same_pixels(tmp_path: Path) -> None:
    want = picture()
    path = saved(tmp_path / "ein Bild – 图 ü.png", want)
    data = path.read_bytes()
    with path.open("rb") as stream, Image.open(path) as lazy:
        forms = [path, str(path), data, bytearray(data), io.BytesIO(data), stream, lazy]
        forms += [Image.fromarray(want), want, want.astype(np.int64), want.astype(np.uint16) * 257]
        for form in forms:
            np.testing.assert_array_equal(load_image(form), want)
        assert not stream.closed
        np.testing.assert_array_equal(load_image(stream), want)  # a second time, from the start


def test_path_equals_image_through_resize_and_crop_and_when_already_cropped(tmp_path: Path) -> None:
    for size in ((20, 30), (12, 12)):
        array = picture(*size)
        path = saved(tmp_path / "a.png", array)
        by_path, by_image = read_images(path, SMALL), read_images(Image.fromarray(array), SMALL)
        np.testing.assert_array_equal(by_path.inputs, by_image.inputs)
        np.testing.assert_array_equal(by_path.images, by_image.images)
    np.testing.assert_array_equal(by_path.images[0], array)  # 12 x 12 is taken as it is
    assert read_images(path, SMALL, resize_to=6).images.shape == (1, 6, 6, 3)


@pytest.mark.parametrize(
    "options", [{}, {"resize_to": 6}, {"crop_to": 6}, {"resize_to": 8, "crop_to": 6}]
)
def test_integer_arrays_keep_their_size(options: Any) -> None:
    array = np.stack([picture(seed=1), picture(seed=2)])
    for given in (array, list(array), tuple(array)):
        batch = read_images(given, SMALL, **options)
        np.testing.assert_array_equal(batch.images, array)
        np.testing.assert_array_equal(batch.inputs, SMALL.normalize(array))
    np.testing.assert_array_equal(read_images(array[0], SMALL, **options).images, array[:1])
    with pytest.raises(InputError, match=r"20 x 30.*20 x 40.*Image\.fromarray"):
        read_images([picture(), picture(20, 40)], SMALL, **options)


def test_a_stream_that_cannot_seek() -> None:
    class Pipe(io.RawIOBase):
        def __init__(self, data: bytes) -> None:
            self.rest = io.BytesIO(data)

        def read(self, n: int = -1) -> bytes:
            return self.rest.read(n)

    buffer = io.BytesIO()
    Image.fromarray(picture()).save(buffer, "PNG")
    np.testing.assert_array_equal(load_image(Pipe(buffer.getvalue())), picture())


def test_tensors_count_as_arrays() -> None:
    class Tensor:
        def numpy(self) -> Any:
            return picture()

    np.testing.assert_array_equal(
        read_images(Tensor(), SMALL).inputs, read_images(picture(), SMALL).inputs
    )


def test_a_list_of_different_sizes_and_kinds(tmp_path: Path) -> None:
    path = saved(tmp_path / "wide.png", picture(20, 50))
    batch = read_images([path, as_file(31, 17), Image.fromarray(picture(16, 16)[..., 0])], SMALL)
    assert batch.inputs.shape == (3, 3, 12, 12)
    assert batch.inputs.dtype == np.float32
    assert batch.images.shape == (3, 12, 12, 3)
    assert batch.images.dtype == np.uint8
    assert batch.sources == (str(path), "input 1", "input 2")
    assert batch.indices == (0, 1, 2)
    assert batch.failures == {}
    single = read_images(as_file(31, 17), SMALL)
    np.testing.assert_array_equal(batch.inputs[1:2], single.inputs)


def test_integer_batch_nhwc_equals_its_singles() -> None:
    array = np.stack([picture(seed=1), picture(seed=2)])
    batch = read_images(array, SMALL)
    singles = [read_images(one, SMALL).inputs for one in array]
    np.testing.assert_array_equal(batch.inputs, np.concatenate(singles))


# --- channels, sizes -----------------------------------------------------------------------------


def test_grey_and_rgba_networks() -> None:
    grey = Preprocessing(resize=None, crop=None, mean=(0.5,), std=(0.25,))
    rgb = picture()
    batch = read_images(rgb, grey)
    luma = rgb @ np.array([0.299, 0.587, 0.114])  # ITU-R 601
    assert batch.inputs.shape == (1, 1, 20, 30)
    assert np.abs((batch.inputs[0, 0] * 0.25 + 0.5) * 255 - luma).max() <= 0.51
    assert (batch.images == batch.images[..., :1]).all()
    assert batch.images.shape == (1, 20, 30, 3)
    rgba = Preprocessing(resize=None, crop=None, mean=(0.0,) * 4, std=(1.0,) * 4)
    array = picture(channels=4)
    batch = read_images(array, rgba)
    np.testing.assert_allclose(batch.inputs[0].transpose(1, 2, 0) * 255, array, atol=1e-4)
    assert np.abs(batch.images[0] - over_white(array[..., :3], array[..., 3])).max() <= 1
    opaque = read_images(rgb, rgba)
    assert (opaque.inputs[:, 3] == 1).all()
    np.testing.assert_array_equal(opaque.images[0], rgb)


def test_integer_arrays_with_one_channel_and_none() -> None:
    grey = picture(channels=1)
    np.testing.assert_array_equal(load_image(grey), grey.repeat(3, -1))
    np.testing.assert_array_equal(load_image(grey[..., 0]), grey.repeat(3, -1))
    np.testing.assert_array_equal(load_image(grey, channels=1), grey)


@pytest.mark.parametrize("size", [(300, 451), (451, 300), (257, 300), (512, 512)])
@pytest.mark.parametrize("how", ["nearest", "bilinear", "bicubic"])
def test_resize_and_crop_are_paddles(size: tuple[int, int], how: str) -> None:
    from paddle.vision import transforms

    image = Image.fromarray(picture(*size))
    steps = [transforms.Resize(256, interpolation=how), transforms.CenterCrop(224)]
    want = np.asarray(transforms.Compose(steps)(image))
    got = read_images(image, Preprocessing(interpolation=how))
    np.testing.assert_array_equal(got.images[0], want)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    x = ((want / 255 - mean) / std).transpose(2, 0, 1)
    np.testing.assert_allclose(got.inputs[0], x, atol=1e-6)


def test_explicit_resize_means_no_crop_and_sizes_must_agree() -> None:
    assert read_images(as_file(20, 30), SMALL, resize_to=10).images.shape == (1, 10, 15, 3)
    both = read_images(as_file(20, 30), SMALL, resize_to=10, crop_to=8)
    assert both.images.shape == (1, 8, 8, 3)
    assert read_images(as_file(20, 30), SMALL, crop_to=9).images.shape == (1, 9, 9, 3)
    with pytest.raises(InputError, match=r"10 x 15.*10 x 20.*crop_to="):
        read_images([as_file(20, 30), as_file(20, 40)], SMALL, resize_to=10)
    with pytest.raises(InputError, match="less than the crop of 11"):
        read_images(as_file(), SMALL, resize_to=10, crop_to=11)
    with pytest.raises(InputError, match="resize_to must be at least 1"):
        read_images(as_file(), SMALL, resize_to=0)
    with pytest.raises(InputError, match="did you mean 'bicubic'"):
        read_images(as_file(), Preprocessing(interpolation="bicubick"))
    with pytest.raises(InputError, match="channels must be 1"):
        load_image(picture(), channels=2)


# --- arrays --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_float_arrays_are_used_as_they_are(dtype: Any) -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 9, 7)).astype(dtype)
    batch = read_images(x, SMALL, resize_to=5)
    np.testing.assert_array_equal(batch.inputs, x)
    assert batch.inputs.dtype == (np.float64 if dtype == np.float64 else np.float32)
    assert batch.sources == ("input 0", "input 1")
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    seen = (x.transpose(0, 2, 3, 1) * std + mean).clip(0, 1) * 255
    assert np.abs(batch.images - seen).max() <= 0.51
    for same in (list(x), tuple(x)):
        np.testing.assert_array_equal(read_images(same, SMALL).inputs, x)
    np.testing.assert_array_equal(read_images(x[0], SMALL).inputs, x[:1])
    np.testing.assert_array_equal(read_images([x], SMALL).inputs, x)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(value: float) -> None:
    x = np.zeros((3, 3, 5, 5), np.float32)
    x[2, 1, 4, 0] = value
    with pytest.raises(InputError, match=rf"{value} in image 2, channel 1, row 4, column 0"):
        read_images(x, SMALL)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "the list is empty"),
        (None, "input 0 is of type NoneType"),
        ([picture(), 7], "input 1 is of type int"),
        (np.zeros((2, 0, 4, 3), np.uint8), r"axis 1 of shape \(2, 0, 4, 3\) is 0"),
        (np.zeros((0, 3, 4, 4), np.float32), r"axis 0 of shape \(0, 3, 4, 4\) is 0"),
        (np.zeros((4, 4, 3), bool), "array of bool"),
        (np.zeros((4, 4, 3), complex), "array of complex128"),
        (np.zeros((8, 9, 3), np.float32), "axis 0 is the channels.*looks like HWC"),
        (np.zeros((2, 8, 9, 3), np.float32), "axis 1 is the channels.*looks like HWC"),
        (np.zeros((2, 4, 8, 8), np.float32), r"shape \(2, 4, 8, 8\): axis 1 .* must be 3, not 4"),
        (np.zeros((8, 8), np.float32), "2 axes"),
        (np.zeros((1, 1, 3, 8, 8), np.float32), "5 axes"),
        ([np.zeros((3, 8, 8)), np.zeros((3, 8, 9))], "different shapes"),
        ([picture(), np.zeros((3, 8, 8))], "input 1 is a float array.*input 0 a picture"),
        (np.zeros((3, 8, 9), np.uint8), r"axis 2 of shape \(3, 8, 9\) is 9; this looks like CHW"),
        (np.zeros((8, 9, 2), np.uint8), r"axis 2 of shape \(8, 9, 2\) is 2"),
        (np.zeros((8,), np.uint8), r"\[H, W, C\]; got shape \(8,\)"),
        ([picture()[None], picture()], r"input 0 of a list has shape \(1, 20, 30, 3\)"),
        (np.full((4, 4, 3), 256), r"0\.\.255; got 256\.\.256"),
        (np.full((4, 4, 3), -1), r"0\.\.255; got -1\.\.-1"),
    ],
)
def test_arrays_that_do_not_fit(given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_images(given, SMALL)


def test_all_formats_on_the_list_are_known_to_pillow() -> None:
    Image.init()
    assert set(readers.ALLOWED_FORMATS) - {"AVIF"} <= set(Image.OPEN)


def test_crop_first_cuts_the_centre_and_then_resizes() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 451, 3), np.uint8)
    way = Preprocessing(resize=256, crop=224, interpolation="bicubic", crop_first=True)
    side = 262  # int(300 * .875)
    centre = Image.fromarray(pixels[19 : 19 + side, 94 : 94 + side])
    expected = np.asarray(centre.resize((224, 224), Image.Resampling.BICUBIC))
    found = read_images(Image.fromarray(pixels), way).images
    np.testing.assert_array_equal(found[0], expected)
    with pytest.raises(InputError, match="crop_first"):
        Preprocessing(resize=None, crop=224, crop_first=True)
