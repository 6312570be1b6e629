"""Pictures and arrays in all the forms that people have them, to one batch.

The second half are InterpretDL's helpers, with its names, arguments and shapes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageReadError, InputError
from ..pickles.plain import read_dictionary, read_plain
from ..preprocessing import IMAGENET, Preprocessing, whole_number
from .arrays import Batch, as_float, from_tensor, plain, read_arrays, read_texts
from .decode import (
    ALLOWED_FORMATS,
    DEFAULT_MAX_PIXELS,
    Pixels,
    Source,
    is_picture,
    load_image,
    name_of,
)
from .geometry import crop_image, fit, resize_image

__all__ = [
    "ALLOWED_FORMATS",
    "DEFAULT_MAX_PIXELS",
    "Batch",
    "crop_image",
    "images_transform_pipeline",
    "load_image",
    "load_npy_dict_file",
    "load_pickle_file",
    "picture_endings",
    "preprocess_image",
    "preprocess_save_path",
    "read_arrays",
    "read_image",
    "read_images",
    "read_texts",
    "resize_image",
    "restore_image",
]


def read_images(
    inputs: Any,
    preprocessing: Preprocessing = IMAGENET,
    *,
    resize_to: int | None = None,
    crop_to: int | None = None,
    frame: int | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> Batch:
    """Read, resize, crop and normalise one picture or many.

    Args:
        inputs: one or a list of: path, bytes, binary file object or PIL image, which are resized
            and cropped; or integer array [H, W, C] (or [H, W]), which keeps its size; or an
            integer array [N, H, W, C], likewise. All of these are pictures. Or a float array
            [N, C, H, W] or [C, H, W] (or a list of the latter), which is the network's input as
            it is. Tensors with `.numpy()` count as arrays. An array is prepared as a file is when
            it is given as `PIL.Image.fromarray(array)`.
        preprocessing: the network's resize, crop, mean and std; it says how many channels.
        resize_to: short edge in pixels instead of preprocessing's; then there is no crop, unless
            `crop_to` is given too. A file of exactly preprocessing.crop x preprocessing.crop pixels
            is taken as it is when neither is given. Arrays are never resized nor cropped.
        crop_to: side of the centre crop in pixels instead of preprocessing's.
        frame, max_pixels: as in `load_image`.

    Returns:
        Batch. A file in a list that cannot be read is listed in `failures`, the others are done.

    Raises:
        ImageReadError: the only picture, or every one, cannot be read.
        InputError: nothing given; an array of wrong rank, channel count or range, or with NaN or
            infinity; a crop larger than the picture; pictures that end in different sizes.
    """
    items = _items(inputs)
    single = not isinstance(inputs, list | tuple)
    floats = [isinstance(item, np.ndarray) and item.dtype.kind == "f" for item in items]
    if all(floats):
        return _from_floats(items, preprocessing)
    if any(floats):
        raise InputError(
            f"input {floats.index(True)} is a float array (used as it is) and input "
            f"{floats.index(False)} a picture (to be normalised); give one kind in a list"
        )
    resize, crop = preprocessing.resize, preprocessing.crop
    as_is = None
    if resize_to is not None:
        resize, crop = resize_to, crop_to
    elif crop_to is not None:
        crop = crop_to
    else:
        as_is = crop
    for option, size in (("resize_to", resize_to), ("crop_to", crop_to)):
        if size is not None:
            whole_number(size, option)
    # Options are the same for all pictures: a wrong one is not the pictures' fault.
    max_pixels = whole_number(max_pixels, "max_pixels")
    done: dict[int, Pixels] = {}
    failures: dict[int, ImageReadError] = {}
    names = [name_of(item) or f"input {i}" for i, item in enumerate(items)]
    for i, item in enumerate(items):
        try:
            image = load_image(
                item,
                frame=frame,
                max_pixels=max_pixels,
                channels=preprocessing.channels,
                name=names[i],
            )
            if not isinstance(item, np.ndarray) and image.shape[:2] != (as_is, as_is):
                image = fit(
                    image,
                    resize,
                    crop,
                    preprocessing.interpolation,
                    max_pixels,
                    names[i],
                    preprocessing.crop_first and resize_to is None and crop_to is None,
                )
            done[i] = image
        except ImageReadError as error:
            if single or len(items) == 1:
                raise
            failures[i] = error
    if not done:
        first = failures[0]
        raise ImageReadError(f"none of {len(items)} pictures was read; first: {first}") from first
    pixels = _stack(done, names, any(isinstance(items[i], np.ndarray) for i in done))
    return Batch(
        inputs=preprocessing.normalize(pixels),
        images=_as_seen(pixels),
        sources=tuple(names[i] for i in done),
        indices=tuple(done),
        failures=failures,
    )


def picture_endings() -> set[str]:
    """The endings of names of files that are read, lower case with the dot."""
    from PIL import Image

    known = Image.registered_extensions()
    return {ending for ending, kind in known.items() if kind in ALLOWED_FORMATS}


def _items(inputs: Any) -> list[Any]:
    """The pictures or arrays one by one, tensors turned to arrays; errors name their position."""
    given = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
    if not given:
        raise InputError("no input was given: the list is empty")
    items: list[Any] = []
    for i, item in enumerate(given):
        if not is_picture(item):
            item = from_tensor(item, f"input {i}")
        if isinstance(item, np.ndarray):
            item = plain(item, f"input {i}")
            if item.dtype.kind not in "iuf":
                raise InputError(
                    f"input {i} is an array of {item.dtype}; give integers (pictures, 0..255, "
                    "[H, W, C]) or floats (network input, [N, C, H, W])"
                )
            if 0 in item.shape:
                axis = item.shape.index(0)
                raise InputError(f"input {i} is empty: axis {axis} of shape {item.shape} is 0")
            if len(given) == 1 and item.ndim == 4 and item.dtype.kind != "f":
                items.extend(item)
                continue
            if item.ndim == 4 and item.dtype.kind != "f":
                raise InputError(
                    f"input {i} of a list has shape {item.shape}; give pictures [H, W, C] in a "
                    "list, or one array [N, H, W, C]"
                )
        elif not is_picture(item):
            raise InputError(
                f"input {i} is of type {type(item).__name__}; give a path, bytes, a binary file "
                "object, a PIL image, an array, or a list of these"
            )
        items.append(item)
    return items


def _from_floats(items: list[NDArray[Any]], preprocessing: Preprocessing) -> Batch:
    """Float arrays [C, H, W], or one [N, C, H, W], used as they are."""
    channels = preprocessing.channels
    for i, item in enumerate(items):
        shape = item.shape
        if item.ndim != 3 and not (item.ndim == 4 and len(items) == 1):
            raise InputError(
                f"input {i} is a float array of shape {shape}, {item.ndim} axes; network input has "
                "the axes [N, C, H, W], or [C, H, W] for one image"
            )
        axis = item.ndim - 3
        if shape[axis] != channels:
            hint = ""
            if shape[-1] == channels:
                hint = "; it looks like HWC: give float [N, C, H, W], or uint8 [H, W, C]"
            raise InputError(
                f"input {i} is a float array of shape {shape}: axis {axis} is the channels and "
                f"must be {channels}, not {shape[axis]}{hint}"
            )
    shapes = [item.shape for item in items]
    if len(set(shapes)) > 1:
        raise InputError(f"float arrays of different shapes {shapes} do not fit in one batch")
    x = items[0] if items[0].ndim == 4 else np.stack(items)
    x = as_float(x)
    finite = np.isfinite(x)
    if not finite.all():
        n, c, h, w = (int(k) for k in np.argwhere(~finite)[0])
        raise InputError(
            f"{x[n, c, h, w]} in image {n}, channel {c}, row {h}, column {w} "
            f"({int((~finite).sum())} such values in all); inputs must be finite"
        )
    return Batch(
        inputs=x,
        images=_as_seen(preprocessing.restore(x)),
        sources=tuple(f"input {n}" for n in range(len(x))),
        indices=tuple(range(len(x))),
        failures={},
    )


def _stack(images: dict[int, Pixels], names: list[str], arrays: bool) -> Pixels:
    shapes = {image.shape for image in images.values()}
    if len(shapes) > 1:
        sizes = ", ".join(f"{names[i]}: {im.shape[0]} x {im.shape[1]}" for i, im in images.items())
        what_to_do = (
            "arrays keep their size: give PIL.Image.fromarray(array), which is resized and cropped"
            if arrays
            else "give crop_to="
        )
        raise InputError(
            f"pictures of different sizes do not fit in one batch ({sizes}); {what_to_do}"
        )
    return np.stack(list(images.values()))


def _as_seen(pixels: Pixels) -> Pixels:
    """uint8 [N, H, W, C] to RGB [N, H, W, 3]: grey repeated, RGBA on white."""
    if pixels.shape[3] == 3:
        return pixels
    if pixels.shape[3] == 1:
        return np.repeat(pixels, 3, axis=3)
    return np.stack([load_image(image) for image in pixels])


# InterpretDL's helpers.


def read_image(
    img_path: Source, target_size: int = 256, crop_size: int | None = 224, crop: bool = True
) -> Pixels:
    """One picture, short edge to `target_size`, centre cropped: uint8 [1, H, W, 3] RGB.

    With `crop_size=None` or `crop=False` nothing is cut off. An array [N, H, W, C] comes back as
    it is. `load_image` gives a picture's own pixels.

    Raises:
        ImageReadError, InputError: as in `load_image` and `read_images`.
    """
    if isinstance(img_path, np.ndarray):
        if img_path.ndim != 4:
            raise InputError(f"an array must be [N, H, W, C]; got shape {img_path.shape}")
        return plain(img_path, "img_path")
    whole_number(target_size, "target_size")
    side = None if crop_size is None or not crop else whole_number(crop_size, "crop_size")
    name = name_of(img_path) or "input 0"
    image = load_image(img_path, name=name)
    return fit(image, target_size, side, "bilinear", DEFAULT_MAX_PIXELS, name)[None]


def images_transform_pipeline(
    array_or_path: Any,
    resize_to: int | None = None,
    crop_to: int | None = None,
    *,
    preprocessing: Preprocessing = IMAGENET,
) -> tuple[Pixels, NDArray[Any]]:
    """Pictures uint8 [N, H, W, 3] and network input float [N, C, H, W], as `interpret` makes them.

    Args:
        array_or_path: as `read_images` takes them: files are resized and cropped, arrays never.
        resize_to: pixels of the short edge; then nothing is cut off unless `crop_to` is given.
            With neither, files are prepared as `preprocessing` says, and `interpret` does the same:
            ImageNet's short edge of 256 and centre crop of 224. (InterpretDL 0.8's default is
            `resize_to=224`.)
        crop_to: side of the centre crop in pixels.
        preprocessing: the model's, `model.preprocessing`, where it has one.

    Raises:
        ImageReadError: a file cannot be read. InputError: as in `read_images`.
    """
    batch = read_images(array_or_path, preprocessing, resize_to=resize_to, crop_to=crop_to)
    for error in batch.failures.values():
        raise error
    return cast(Pixels, batch.images), batch.inputs


def preprocess_image(img: NDArray[np.uint8], random_mirror: bool = False) -> NDArray[np.float32]:
    """Pictures uint8 [N, H, W, 3] to float32 [N, 3, H, W], ImageNet normalised.

    With `random_mirror` left and right change places in one call out of two.
    """
    mirror = random_mirror and np.random.default_rng().random() < 0.5
    return IMAGENET.normalize(img[:, :, ::-1] if mirror else img)


def restore_image(float_input_data: NDArray[Any]) -> Pixels:
    """Inverse of `preprocess_image`, clipped to 0..255; the array given is left as it is."""
    return IMAGENET.restore(float_input_data)


def preprocess_save_path(
    save_path: str | os.PathLike[str] | Sequence[str | os.PathLike[str] | None] | None, bsz: int
) -> list[str | os.PathLike[str] | None]:
    """One path per image: a list of length `bsz`, of None if nothing is to be saved.

    Raises:
        InputError: the number of paths is not the number of images.
    """
    bsz = whole_number(bsz, "bsz", least=0)
    if save_path is None:
        return [None] * bsz
    paths: list[str | os.PathLike[str] | None]
    try:
        paths = [save_path] if isinstance(save_path, str | os.PathLike) else list(save_path)
    except TypeError as error:
        raise InputError(f"save_path must be a path or a list of paths: {error}") from error
    if len(paths) != bsz:
        raise InputError(f"save_path has {len(paths)} path(s) for {bsz} image(s); give one each")
    return paths


def load_pickle_file(fname: str | os.PathLike[str] | None) -> Any:
    """What a pickle holds, if it is plain data; None for None and for a file that is missing.

    Plain are None, numbers, texts, bytes, lists, tuples, dictionaries with texts or whole numbers
    as keys, and NumPy arrays. Nothing that the file names is imported or run.

    Raises:
        InputError: the file holds something else, such as an object of a class, or is damaged.
        ResourceError: it cannot be opened.
    """
    return None if _is_missing(fname) else read_plain(cast(str, fname))


def load_npy_dict_file(fname: str | os.PathLike[str] | None) -> dict[Any, Any] | None:
    """The dictionary that `numpy.save(fname, dictionary)` wrote, if it is plain data.

    None for None and for a file that is missing. What is plain, and what is raised, is as in
    `load_pickle_file`.
    """
    return None if _is_missing(fname) else read_dictionary(cast(str, fname))


def _is_missing(fname: Any) -> bool:
    return fname is None or (isinstance(fname, str | os.PathLike) and not os.path.exists(fname))
