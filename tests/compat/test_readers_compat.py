"""InterpretDL's reading helpers: its names, its arguments, its shapes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from interpretdl.data_processor.readers import (
    crop_image,
    images_transform_pipeline,
    preprocess_image,
    preprocess_save_path,
    read_image,
    resize_image,
    restore_image,
)
from interpretdl.errors import ImageReadError, InputError


@pytest.fixture
def path(tmp_path: Path) -> str:
    rng = np.random.default_rng(0)
    path = tmp_path / "a.png"
    Image.fromarray(rng.integers(0, 256, (300, 400, 3), dtype=np.uint8)).save(path)
    return str(path)


def test_read_image(path: str) -> None:
    assert read_image(path).shape == (1, 224, 224, 3)
    assert read_image(path, target_size=150, crop=False).shape == (1, 150, 200, 3)
    assert read_image(path, 150, None).shape == (1, 150, 200, 3)
    assert read_image(path, 150, 100).dtype == np.uint8
    array = np.zeros((2, 5, 5, 3), np.uint8)
    assert read_image(array) is array
    with pytest.raises(InputError, match=r"N, H, W, C"):
        read_image(array[0])


def test_images_transform_pipeline(path: str) -> None:
    images, data = images_transform_pipeline(path)
    np.testing.assert_array_equal(images, read_image(path))  # short edge 256, crop 224
    assert data.shape == (1, 3, 224, 224)
    images, data = images_transform_pipeline(path, 224)
    assert images.shape == (1, 224, 298, 3)  # 224 * 400 / 300 = 298.67
    assert data.shape == (1, 3, 224, 298)
    images, data = images_transform_pipeline([path, path], resize_to=120, crop_to=100)
    assert images.shape == (2, 100, 100, 3)
    np.testing.assert_array_equal(data, preprocess_image(images))
    array = np.asarray(Image.open(path))  # arrays are neither resized nor cropped
    for given, size in ((array, None), (array[None], 100)):
        images, data = images_transform_pipeline(given, size, size)
        np.testing.assert_array_equal(images, array[None])
        np.testing.assert_array_equal(data, preprocess_image(array[None]))
    images, again = images_transform_pipeline(data)
    np.testing.assert_array_equal(images, array[None])
    np.testing.assert_array_equal(again, data)
    with pytest.raises(ImageReadError, match=r"none\.png"):
        images_transform_pipeline([path, "none.png"], crop_to=100)


def test_preprocess_and_restore() -> None:
    images = np.random.default_rng(1).integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)
    x = preprocess_image(images)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(x, ((images / 255 - mean) / std).transpose(0, 3, 1, 2), atol=1e-6)
    before = x.copy()
    np.testing.assert_array_equal(restore_image(x), images)
    np.testing.assert_array_equal(x, before)
    mirrored = x[..., ::-1]
    draws = [preprocess_image(images, random_mirror=True) for _ in range(64)]
    plain = [np.array_equal(draw, x) for draw in draws]
    turned = [np.array_equal(draw, mirrored) for draw in draws]
    assert np.logical_xor(plain, turned).all()
    assert any(plain)  # wrong once in 2**64 runs
    assert any(turned)


def test_resize_and_crop() -> None:
    image = np.random.default_rng(2).integers(0, 256, (10, 20, 3), dtype=np.uint8)
    assert resize_image(image, 5).shape == (5, 10, 3)
    assert resize_image(image[..., :1], 5).shape == (5, 10, 1)
    floats = image.astype(np.float32) / 255
    found = resize_image(floats, 5)
    assert (found.dtype, found.shape) == (np.float32, (5, 10, 3))
    np.testing.assert_allclose(found * 255, resize_image(image, 5), atol=1)
    np.testing.assert_array_equal(resize_image(floats[..., :1], 5), found[..., :1])
    cubic = resize_image(image, 5, 2)  # cv2.INTER_CUBIC
    np.testing.assert_array_equal(cubic, resize_image(image, 5, "bicubic"))
    with pytest.raises(InputError, match="no interpolation '17'"):
        resize_image(image, 5, 17)
    np.testing.assert_array_equal(crop_image(image, 5), image[2:7, 7:12])
    anywhere = crop_image(image, 5, center=False, rng=np.random.default_rng(0))
    places = [(i, j) for i in range(6) for j in range(16)]
    assert any(np.array_equal(anywhere, image[i : i + 5, j : j + 5]) for i, j in places)
    with pytest.raises(InputError, match="cannot cut 11 x 11 from 10 x 20"):
        crop_image(image, 11)


def test_preprocess_save_path() -> None:
    assert preprocess_save_path(None, 2) == [None, None]
    assert preprocess_save_path("a.png", 1) == ["a.png"]
    assert preprocess_save_path(["a.png", "b.png"], 2) == ["a.png", "b.png"]
    with pytest.raises(InputError, match=r"1 path\(s\) for 2 image"):
        preprocess_save_path("a.png", 2)
