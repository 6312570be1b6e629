"""One picture, whatever it is given as, to 8-bit pixels as a person sees them.

Nothing here is global: Pillow's own limit on the number of pixels is neither read nor set, and what
Pillow says is kept away for the thread that reads alone.
"""

from __future__ import annotations

import io
import logging
import os
import re
import struct
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

from ..errors import ImageReadError, InputError, InterpretError, InterpretWarning
from ..preprocessing import whole_number
from .arrays import plain
from .costs import check_cost, check_frame, check_webp
from .quiet import quiet_libtiff, quiet_pillow
from .tiff_pages import at_page

__all__ = ["ALLOWED_FORMATS", "DEFAULT_MAX_PIXELS", "Source", "load_image"]

_log = logging.getLogger(__name__)

DEFAULT_MAX_PIXELS = 64_000_000
# Raster formats whose decoders run no other program. Cameras' MPO files count as JPEG.
ALLOWED_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "AVIF")

Pixels: TypeAlias = "NDArray[np.uint8]"
Source: TypeAlias = "str | os.PathLike[str] | bytes | IO[bytes] | Image.Image | NDArray[Any]"

# Formats whose later frames are decoded on top of those before them.
_BUILT_UP = ("GIF", "PNG", "WEBP", "AVIF")

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def load_image(
    source: Source,
    *,
    frame: int | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    channels: int = 3,
    name: str | None = None,
) -> Pixels:
    """Pixels of one picture: upright, in sRGB, 8 bit.

    The EXIF orientation is applied. Transparency is composited on white unless `channels` is 4.
    16 bits are scaled to 8. CMYK, grey, palette and other colour spaces are converted, with the
    embedded ICC profile where there is one (a profile that cannot be used is ignored and logged).

    Args:
        source: path, encoded bytes, binary file object, PIL image, or an integer array [H, W] or
            [H, W, C] with C = 1, 3 or 4 and values in 0..255 (uint16: 0..65535).
        frame: which frame of an animation or page of a stack. None is the first, with a warning
            if there are more; of a PIL image it is the one that it stands at.
        max_pixels: a picture that is larger, or costlier to decode, is refused beforehand.
        channels: 1 (grey), 3 (RGB) or 4 (RGBA).
        name: what error messages call the picture; by default its path.

    Returns:
        uint8 [H, W, channels].

    Raises:
        ImageReadError: missing, a directory, empty, truncated, not an image, too large, or in a
            format that is not in `ALLOWED_FORMATS`.
        InputError: not a picture at all, an array that is none, or no such frame.
    """
    if whole_number(channels, "channels") not in _MODES:
        raise InputError(f"channels must be 1 (grey), 3 (RGB) or 4 (RGBA); got {channels}")
    max_pixels = whole_number(max_pixels, "max_pixels")
    if frame is not None:
        frame = whole_number(frame, "frame", least=-(2**63))
    if isinstance(source, np.ndarray):
        name = name or "array"
        return _to_channels(_image_of(plain(source, name), name), name, channels)
    if not name:
        name = name_of(source) or ("" if source == "" else f"<{type(source).__name__}>")
    with ExitStack() as stack:
        stack.enter_context(quiet_pillow(name))
        try:
            return _to_channels(_upright(source, name, frame, max_pixels, stack), name, channels)
        except MemoryError as error:
            raise ImageReadError(
                f"{name!r} needs more memory than there is; make it smaller"
            ) from error


def name_of(source: object) -> str:
    """Path of a source that has one, else an empty string."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    name = getattr(source, "filename", None) or getattr(source, "name", None)
    return os.fspath(name) if isinstance(name, str | Path) else ""


def is_picture(source: object) -> bool:
    """Whether `source` is of a kind that `load_image` opens (arrays apart)."""
    kinds = (str, os.PathLike, bytes, bytearray, memoryview, Image.Image)
    return isinstance(source, kinds) or hasattr(source, "read")


def _stream(source: Any, name: str, stack: ExitStack) -> IO[bytes]:
    """A seekable binary stream; only what is opened here is closed with `stack`."""
    if not is_picture(source):
        raise InputError(
            f"cannot read a picture from {type(source).__name__}; give a path, bytes, a binary "
            "file object, a PIL image, or an array"
        )
    if isinstance(source, io.TextIOBase):
        raise _text(name)
    stream: IO[bytes]
    try:
        if isinstance(source, str | os.PathLike):
            path = os.fspath(source)
            if os.path.isdir(path):
                raise ImageReadError(f"{name!r} is a directory; give the files in it")
            if os.path.exists(path) and not os.path.isfile(path):
                raise ImageReadError(f"{name!r} is not a regular file")
            stream = open(path, "rb")  # noqa: SIM115 - closed by the caller's stack
            stack.callback(stream.close)
        elif isinstance(source, bytes | bytearray | memoryview):
            stream = io.BytesIO(bytes(source))
        else:
            stream = source if source.seekable() else _whole(source, name)
            stream.seek(0)
        start = stream.read(1)
    except FileNotFoundError as error:
        raise ImageReadError(f"no such file: {name!r}") from error
    except InterpretError:
        raise
    except (OSError, ValueError, AttributeError, TypeError) as error:
        # ValueError: null byte, closed file. The others: what has a `read` and is no file.
        raise ImageReadError(f"{name!r} cannot be opened: {error}") from error
    if isinstance(start, str):
        raise _text(name)
    if not isinstance(start, bytes | bytearray | None):
        raise InputError(f"{name!r} gives {type(start).__name__}, not bytes; give a binary file")
    if not start:
        raise ImageReadError(f"{name!r} is empty (0 bytes)")
    return stream


def _whole(source: Any, name: str) -> IO[bytes]:
    data = source.read()
    if isinstance(data, str):
        raise _text(name)
    return io.BytesIO(data)


def _text(name: str) -> InputError:
    return InputError(f"{name!r} is a text stream; open it in binary mode ('rb')")


def _upright(
    source: Any, name: str, frame: int | None, max_pixels: int, stack: ExitStack
) -> Image.Image:
    """The frame, decoded and upright."""
    if isinstance(source, Image.Image):
        image = source
        if frame is not None:  # the caller's image goes back to where it stood
            stack.callback(_seek, image, image.tell(), name)
    else:
        image, frame = _open(_stream(source, name, stack), name, frame, max_pixels)
    several = _decode(image, name, frame, max_pixels)
    if several and image is not source:
        message = f"{name!r} has more than one frame; the first is taken, frame= chooses another"
        warnings.warn(message, InterpretWarning, stacklevel=2)
    try:
        if image is source:
            return ImageOps.exif_transpose(image)
        ImageOps.exif_transpose(image, in_place=True)
        return image
    except MemoryError:
        raise
    except Exception as error:  # as in _open
        raise ImageReadError(f"{name!r} has broken EXIF data: {error}") from error


def _open(
    stream: IO[bytes], name: str, frame: int | None, max_pixels: int
) -> tuple[Image.Image, int | None]:
    """What Image.open does for the allowed formats, less its check of the size, and `frame`.

    That check warns, and it reads a limit that is the same for all threads. The frame is counted
    from the one that the image stands at.
    """
    Image.init()
    stream.seek(0)
    head = stream.read(30)
    broken: Exception | None = None
    for kind in filter(Image.OPEN.__contains__, ALLOWED_FORMATS):
        if not _accepts(kind, head):
            continue
        try:
            if kind == "WEBP":
                check_webp(head, name, max_pixels)
            if kind == "TIFF" and frame:
                stream, frame = at_page(stream, frame, name), 0
            if head[:2] in (b"P1", b"P2", b"P3"):
                stream = _without_comments(stream)
            stream.seek(0)
            return Image.OPEN[kind][0](stream, ""), frame
        except (InterpretError, MemoryError):
            raise
        except Image.DecompressionBombError as error:
            raise ImageReadError(f"{name!r} is too large: {error}") from error
        except Exception as error:
            # What a decoder raises on broken data is not limited to a few types.
            broken = error
    if broken is not None:
        raise ImageReadError(f"{name!r} is broken: {broken}") from broken
    others = [kind for kind in Image.OPEN if kind not in ALLOWED_FORMATS and _accepts(kind, head)]
    known = ", ".join(ALLOWED_FORMATS)
    if others:
        raise ImageReadError(f"{name!r} is {others[0]}, which is not read; convert it to {known}")
    raise ImageReadError(f"{name!r} is not an image; formats read are {known}")


def _accepts(kind: str, head: bytes) -> bool:
    """Whether Pillow takes a file that begins so for one of format `kind`."""
    accept = Image.OPEN[kind][1]
    try:
        return accept is not None and accept(head[:16]) is True
    except (struct.error, IndexError):
        return False  # shorter than what the format begins with


def _without_comments(stream: IO[bytes]) -> IO[bytes]:
    """A plain PPM without its comments, each of which Pillow takes out by copying all the rest."""
    stream.seek(0)
    return io.BytesIO(re.sub(rb"#[^\r\n]*[\r\n]?", b"", stream.read()))


def _decode(image: Image.Image, name: str, frame: int | None, max_pixels: int) -> bool:
    """Decode the frame, and say whether there are several and none was asked for."""
    several = False
    try:
        if frame is None:
            # `n_frames` may read the whole file. Further frames of a camera's MPO are previews
            # and other views of the same picture.
            several = bool(getattr(image, "is_animated", False)) and image.format != "MPO"
        else:
            _choose(image, name, frame, max_pixels)
        check_cost(image, name, max_pixels)
        with quiet_libtiff():
            image.load()
    except (InterpretError, MemoryError):
        raise
    except Exception as error:  # as in _open
        raise ImageReadError(f"{name!r} is truncated or broken: {error}") from error
    return several


def _choose(image: Image.Image, name: str, frame: int, max_pixels: int) -> None:
    """Put `image` to the frame, which negative numbers count from the end."""
    count: int | None = None
    number = frame
    if frame < 0:
        count = int(getattr(image, "n_frames", 1))
        number += count
    try:
        if number < 0:
            raise EOFError
        if image.format not in _BUILT_UP:
            image.seek(number)
            return
        if number < image.tell():
            image.seek(0)
        for each in range(image.tell() + 1, number + 1):
            check_frame(image, number, name, max_pixels)
            count = each
            image.seek(each)
    except EOFError as error:
        if count is None:
            count = int(getattr(image, "n_frames", 1))
        raise InputError(
            f"{name!r} has {count} frame(s), counted from 0; got frame={frame}"
        ) from error


def _seek(image: Image.Image, frame: int, name: str) -> None:
    try:
        image.seek(frame)
    except Exception as error:  # as in _open
        raise ImageReadError(f"{name!r} is truncated or broken: {error}") from error


def _image_of(array: NDArray[Any], name: str) -> Image.Image:
    """Integer array [H, W] or [H, W, C] as a PIL image."""
    shape = array.shape
    if array.dtype.kind not in "iu":
        raise InputError(
            f"{name}: a picture is an array of integers in 0..255; got {array.dtype} {shape}"
        )
    if array.ndim not in (2, 3):
        raise InputError(f"{name}: a picture has axes [H, W] or [H, W, C]; got shape {shape}")
    if array.ndim == 3 and shape[2] not in _MODES:
        hint = "; this looks like CHW: transpose it" if shape[0] in _MODES else ""
        raise InputError(
            f"{name}: the last axis of an integer array [H, W, C] is its channels and must be 1, 3 "
            f"or 4; axis 2 of shape {shape} is {shape[2]}{hint}"
        )
    if array.size == 0:
        raise InputError(f"{name}: axis {shape.index(0)} of shape {shape} has length 0")
    low, high = int(array.min()), int(array.max())
    if array.dtype.itemsize == 2 and array.dtype.kind == "u":
        if high <= 255:
            message = f"{name}: uint16 is read as 16 bit, and values up to {high} are black"
            warnings.warn(f"{message}; if 255 is white, use uint8", InterpretWarning, stacklevel=2)
        array = _sixteen_to_eight(array)
    elif low < 0 or high > 255:
        raise InputError(f"{name}: pixels must be in 0..255; got {low}..{high} ({array.dtype})")
    array = np.ascontiguousarray(array, np.uint8)
    return Image.fromarray(array[..., 0] if array.shape[2:] == (1,) else array)


def _sixteen_to_eight(values: NDArray[Any]) -> Pixels:
    """0..65535 to 0..255, rounded."""
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _to_channels(image: Image.Image, name: str, channels: int) -> Pixels:
    """Any PIL mode to uint8 [H, W, channels]."""
    profile = image.info.get("icc_profile")
    try:
        colour, alpha = _split_alpha(image, name)
        del image  # it may hold a decoder with memory of its own
        colour = _to_srgb(colour, name, profile)
    except (ValueError, TypeError, SyntaxError) as error:
        if isinstance(error, InterpretError):
            raise
        raise ImageReadError(f"the colours of {name!r} cannot be converted: {error}") from error
    if channels == 4:
        colour.putalpha(alpha if alpha is not None else 255)
    elif alpha is not None:
        _log.debug("%r is transparent and was composited on white", name)
        white = Image.new("RGB", colour.size, "white")
        white.paste(colour, mask=alpha)
        colour = white
    pixels = np.array(_as(colour, _MODES[channels]))
    return pixels[..., None] if channels == 1 else pixels


def _as(image: Image.Image, mode: str) -> Image.Image:
    """`image` in the mode; itself if it is, where `convert` would copy it."""
    return image if image.mode == mode else image.convert(mode)


def _split_alpha(image: Image.Image, name: str) -> tuple[Image.Image, Image.Image | None]:
    """The picture with 8 bits and without transparency, and its alpha if it has one."""
    if image.mode == "F":
        raise ImageReadError(
            f"{name!r} has floating-point pixels of no known range; scale to 8 or 16 bit integers"
        )
    if image.mode.startswith("I"):
        values = np.asarray(image)
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > 65535:
            raise ImageReadError(
                f"{name!r} has 32-bit pixels in {low}..{high}; scale them to 0..65535"
            )
        clear = image.info.get("transparency")
        alpha = None if clear is None else Image.fromarray(np.uint8(255) * (values != clear))
        return Image.fromarray(_sixteen_to_eight(values)), alpha
    if not image.has_transparency_data:
        return image, None
    if image.mode in ("LA", "La"):
        grey, alpha = image.convert("LA").split()
        return grey, alpha
    rgba = _as(image, "RGBA")
    return rgba.convert("RGB"), rgba.getchannel("A")


def _to_srgb(image: Image.Image, name: str, profile: bytes | None) -> Image.Image:
    """RGB image; the ICC profile is used if it can be."""
    if profile and image.mode in ("P", "1"):
        image = image.convert("RGB" if image.mode == "P" else "L")
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            # A picture that is sRGB already stays as it is, to the bit.
            if image.mode != "RGB" or "sRGB" not in (source.profile.profile_description or ""):
                target = ImageCms.createProfile("sRGB")
                converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
                if converted is not None:
                    return converted
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError, ImportError) as error:
            _log.warning("the ICC profile of %r cannot be used and was ignored: %s", name, error)
    return _as(image, "RGB")
