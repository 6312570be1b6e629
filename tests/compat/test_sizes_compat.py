"""Which pictures are resized: files, and never arrays, as InterpretDL's users expect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import interpretdl as it
from interpretdl.data_processor.readers import images_transform_pipeline
from interpretdl.data_processor.visualizer import explanation_to_vis

RNG = np.random.default_rng(0)
PICTURES = RNG.integers(0, 256, (2, 64, 48, 3), dtype=np.uint8)


def model_with(preprocessing: Any, toy: Any) -> Any:
    model = toy()
    if preprocessing is not None:
        model.preprocessing = preprocessing
    return model


OWN = it.Preprocessing(40, 32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "large.png"
    Image.fromarray(RNG.integers(0, 256, (300, 420, 3), dtype=np.uint8)).save(path)
    return str(path)


@pytest.mark.parametrize("own", [None, OWN])
@pytest.mark.parametrize("sizes", [{}, {"resize_to": 224}, {"resize_to": 30, "crop_to": 20}])
def test_integer_arrays_are_taken_as_they_are(own: Any, sizes: Any, toy: Any) -> None:
    method = it.GradientInterpreter(model_with(own, toy))
    expected = method.explain((own or it.IMAGENET).normalize(PICTURES), label=1).values
    assert expected.shape == (2, 3, 64, 48)
    for given in (PICTURES, list(PICTURES), PICTURES.astype(np.int64)):
        found = method.interpret(given, 1, visual=False, **sizes)
        np.testing.assert_array_equal(found, expected)
    found = method.interpret(PICTURES[0], 1, visual=False, **sizes)
    np.testing.assert_allclose(found, expected[:1], rtol=1e-4, atol=1e-7)


def test_a_pil_image_is_prepared_as_a_file_is(file: str, toy: Any) -> None:
    method = it.GradientInterpreter(toy())
    with Image.open(file) as picture:
        array = np.asarray(picture)
    expected = method.explain(file)
    assert expected.values.shape == (1, 3, 224, 224)
    found = method.explain(Image.fromarray(array))
    np.testing.assert_array_equal(found.values, expected.values)
    both = method.explain([file, Image.fromarray(PICTURES[0])])  # of any size, in one batch
    assert both.values.shape == (2, 3, 224, 224)


def test_a_network_of_one_size_runs_on_files(file: str) -> None:
    from paddle import nn

    class Fixed(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(3 * 7 * 7, 5)
            self.pool = nn.AvgPool2D(32)

        def forward(self, x: Any) -> Any:
            return self.last(self.pool(x).flatten(1))

    method = it.GradientInterpreter(Fixed())
    with Image.open(file) as picture:
        array = np.asarray(picture)
    for given in (file, Image.fromarray(array)):
        assert method.explain(given).values.shape == (1, 3, 224, 224)
    with pytest.raises(ValueError, match="mul"):  # the network's own word
        method.explain(array)


SIZES: Any = [(), (224,), (64, 48), (None, 36)]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("own", [None, OWN])
def test_a_map_fits_the_picture_of_the_pipeline(own: Any, sizes: Any, file: str, toy: Any) -> None:
    method = it.GradientInterpreter(model_with(own, toy))
    options = {} if own is None else {"preprocessing": own}
    images, data = images_transform_pipeline(file, *sizes, **options)
    resize_to, crop_to = (*sizes, None, None)[:2]
    found = method.explain(file, resize_to=resize_to, crop_to=crop_to)
    np.testing.assert_array_equal(found.images, images)
    assert found.values.shape == data.shape
    np.testing.assert_array_equal(method.explain(data, label=found.labels).values, found.values)
    drawn = explanation_to_vis(images, np.abs(found.values[0]).sum(axis=0), "overlay_grayscale")
    assert drawn.shape == images.shape[1:]


def test_the_default_of_files(file: str, toy: Any) -> None:
    """Short edge 256, centre crop of 224; with resize_to=224 InterpretDL's, short edge 224."""
    method = it.GradCAMInterpreter(toy())
    assert method.explain(file, "5").images.shape == (1, 224, 224, 3)
    assert method.explain(file, "5", resize_to=224).images.shape == (1, 224, 313, 3)
    own = it.GradCAMInterpreter(model_with(OWN, toy))
    assert own.explain(file, "5").images.shape == (1, 32, 32, 3)
    assert own.explain(file, "5", resize_to=40).images.shape == (1, 40, 56, 3)


def test_evaluators_take_the_same_arrays(toy: Any) -> None:
    model, picture = toy(), PICTURES[:1]
    values = it.GradientInterpreter(model).interpret(picture, visual=False)
    with pytest.warns(it.InterpretWarning, match="as InterpretDL does"):
        found = it.DeletionInsertion(model, "cpu").evaluate(picture, values, resize_to=224)
    np.testing.assert_array_equal(found["deletion_images"][0], picture[0])
