"""Files made to hurt: a typed error at once, and the rest of the batch goes on."""

from __future__ import annotations

import io
import logging
import os
import pickle
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from interpretdl.data_processor import quiet
from interpretdl.data_processor.readers import load_image, read_images
from interpretdl.errors import ImageReadError, InputError, InterpretWarning
from interpretdl.preprocessing import Preprocessing

SMALL = Preprocessing(resize=16, crop=12)
PICTURE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def encoded(array: Any, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


def animated(kind: str, count: int, **options: Any) -> bytes:
    """Frame n has the colour (n, 255 - n, 9): no two neighbours are equal."""
    frames = [Image.new("RGB", (4, 4), (n % 256, 255 - n % 256, 9)) for n in range(count)]
    buffer = io.BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:], **options)
    return buffer.getvalue()


Tag = tuple[int, int, int, "int | bytes"]


def tiff(tags: list[Tag], pixels: bytes = b"\0" * 64, following: int = 0) -> bytes:
    """One page; a value in bytes is laid behind the directory, then come the pixels."""
    more = b""
    entries = b""
    behind = 8 + 2 + 12 * len(tags) + 4
    for tag, kind, count, value in sorted(tags, key=lambda tag: tag[0]):
        if isinstance(value, bytes):
            value, more = behind + len(more), more + value
        entries += struct.pack("<HHII", tag, kind, count, value)
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", following)
    return b"II*\0" + struct.pack("<I", 8) + directory + more + pixels


def page(width: int = 1, height: int = 1, compression: int = 1) -> list[Tag]:
    """Width, length, 8 bits, compression, black is 0, one sample."""
    values = {256: width, 257: height, 258: 8, 259: compression, 262: 1, 277: 1}
    return [(tag, 4, 1, value) for tag, value in values.items()]


def tiled(width: int, height: int, tile: tuple[int, int], compression: int, count: int) -> bytes:
    where = struct.pack("<I", 8) * count if count > 1 else 8
    sides: list[Tag] = [(322, 4, 1, tile[0]), (323, 4, 1, tile[1])]
    places: list[Tag] = [(324, 4, count, where), (325, 4, count, where)]
    return tiff([*page(width, height, compression), *sides, *places])


def gif(width: int, height: int, *corners: int) -> bytes:
    """Frames of one pixel, each as far from the corner as it says."""
    header = b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\0\0" + b"\0\0\0\xff\xff\xff"
    pixel = b"\2\2\x44\1\0"
    frames = [b"," + struct.pack("<HHHHB", at, at, 1, 1, 0) + pixel for at in corners]
    return header + b"".join(frames) + b";"


def webp(kind: bytes, side: int) -> bytes:
    """A header, and nothing behind it."""
    if kind == b"VP8X":
        body = b"\x0a\0\0\0" + b"\2\0\0\0" + struct.pack("<I", side - 1)[:3] * 2
    elif kind == b"VP8L":
        bits = struct.pack("<I", (side - 1) | (side - 1) << 14)
        body = b"\x0a\0\0\0" + b"\x2f" + bits + b"\0" * 5
    else:  # lossy
        body = b"\x0a\0\0\0" + b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", side, side)
    return b"RIFF" + struct.pack("<I", len(body) + 8) + b"WEBP" + kind + body


def rle_bmp(width: int, height: int, data: bytes) -> bytes:
    palette = b"\1\2\3\0\4\5\6\0"
    sizes = (40, width, height, 1, 8, 1, len(data), 0, 0, 2, 0)
    header = struct.pack("<IHHI", 0, 0, 0, 54 + len(palette)) + struct.pack("<IiiHHIIiiII", *sizes)
    return b"BM" + header + palette + data


def many_scans(count: int) -> bytes:
    """A progressive JPEG, 64 x 64, with its last scan `count` times more."""
    data = encoded(np.zeros((64, 64), np.uint8), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * count + data[-2:]


class Counted(io.BytesIO):
    reads = 0  # how often

    def read(self, *size: Any) -> bytes:
        self.reads += 1
        return super().read(*size)


# --- files of a few bytes ------------------------------------------------------------------------

MAGIC = {
    "png": encoded(PICTURE, "PNG"),
    "jpeg": encoded(PICTURE, "JPEG"),
    "gif": encoded(PICTURE, "GIF"),
    "bmp": encoded(PICTURE, "BMP"),
    "tiff": encoded(PICTURE, "TIFF"),
    "webp": encoded(PICTURE, "WEBP"),
    "ppm": encoded(PICTURE, "PPM"),
    "avif": b"\0\0\0\x20ftypavif\0\0\0\0avifmif1miaf",
    "nothing": b"\0" * 16,
}


@pytest.mark.parametrize("magic", MAGIC)
def test_the_first_bytes_of_a_file_are_one_unreadable_picture(magic: str) -> None:
    starts = [MAGIC[magic][:length] for length in range(18)]
    batch = read_images([*starts, PICTURE], SMALL)
    assert batch.indices == (18,)
    assert set(batch.failures) == set(range(18))
    assert "empty" in str(batch.failures[0])


# --- many frames ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "PNG", "WEBP"])
def test_the_number_of_frames_costs_nothing_where_the_first_is_taken(kind: str) -> None:
    reads = []
    options = {"lossless": True} if kind == "WEBP" else {}
    for count in (2, 200):
        stream = Counted(animated(kind, count, **options))
        with pytest.warns(InterpretWarning, match="more than one frame"):
            load_image(stream)
        reads.append(stream.reads)
    assert reads[1] <= reads[0] + 5


@pytest.mark.parametrize("frame", [-1, 1999, 1000, -2000])
def test_a_late_page_of_a_tiff_costs_a_few_reads_for_each_before_it(frame: int) -> None:
    size = 2 + 12 * 9 + 4
    directories = []
    for n in range(2000):
        tags = [*page(), (273, 4, 1, 8 + 2000 * size + n), (278, 4, 1, 1), (279, 4, 1, 1)]
        following = 8 + size * (n + 1) if n < 1999 else 0
        directories.append(tiff(tags, b"", following)[8:])
    data = b"II*\0" + struct.pack("<I", 8) + b"".join(directories)
    stream = Counted(data + bytes(n % 251 for n in range(2000)))
    assert load_image(stream, frame=frame)[0, 0, 0] == frame % 2000 % 251
    assert stream.reads <= 2 * 2000 + 200


@pytest.mark.parametrize(
    "options", [{}, {"compression": "tiff_lzw"}, {"big_tiff": True}, {"compression": "packbits"}]
)
@pytest.mark.parametrize("as_file", [True, False])
def test_every_page_of_every_kind_of_tiff(
    tmp_path: Path, options: dict[str, Any], as_file: bool
) -> None:
    data = animated("TIFF", 3, **options)
    (tmp_path / "a.tif").write_bytes(data)
    source = tmp_path / "a.tif" if as_file else data
    for frame in (0, 1, 2, -1, -2, -3, np.int64(1)):
        assert (load_image(source, frame=frame) == [frame % 3, 255 - frame % 3, 9]).all()
    for frame in (3, -4):
        with pytest.raises(InputError, match=rf"3 frame\(s\), counted from 0; got frame={frame}"):
            load_image(source, frame=frame)


def test_big_endian_pages() -> None:
    first, second = (
        struct.pack(">H", 9)
        + b"".join(
            struct.pack(">HHII", tag, 4, 1, value)
            for tag, _, _, value in [*page(), (273, 4, 1, place), (278, 4, 1, 1), (279, 4, 1, 1)]
        )
        + struct.pack(">I", following)
        for place, following in ((236, 122), (237, 0))
    )
    data = b"MM\0*" + struct.pack(">I", 8) + first + second + b"\x11\x22"
    assert load_image(data, frame=0)[0, 0, 0] == 0x11
    assert load_image(data, frame=1)[0, 0, 0] == 0x22


@pytest.mark.parametrize("following", [8, 9000, 2**32 - 1], ids=["loop", "cut off", "far off"])
def test_a_chain_of_pages_that_leads_nowhere(following: int) -> None:
    data = tiff([*page(), (273, 4, 1, 0), (279, 4, 1, 1)], following=following)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InterpretWarning)  # whether there are more is not known
        assert load_image(data).shape == (1, 1, 3)
    assert load_image(data, frame=-1).shape == (1, 1, 3)
    with pytest.raises(InputError, match=r"1 frame\(s\)"):
        load_image(data, frame=1)


# --- a few bytes that promise much ---------------------------------------------------------------

OVERLAPPING = tiff(
    [*page(10, 10), (278, 4, 1, 9), (273, 4, 900, struct.pack("<I", 8) * 900)], b"\0" * 8000
)
FRAMES = gif(200, 200, *[0] * 50)
COSTLY: dict[str, tuple[bytes, dict[str, Any]]] = {
    **{
        f"TIFF of huge tiles, compression {code}": (tiled(1, 1, (46000, 46000), code, 1), {})
        for code in (1, 2, 5, 7, 8, 32773, 34925, 50000)
    },
    "TIFF of tall tiles": (tiled(4_000_000, 16, (16, 4_000_000), 8, 100), {}),
    "TIFF of strips on one another": (OVERLAPPING, {"max_pixels": 1000}),
    "WebP canvas": (webp(b"VP8X", 13000), {}),
    "WebP canvas of 4 gigapixels": (webp(b"VP8X", 65535), {}),
    "WebP lossless": (webp(b"VP8L", 16383), {}),
    "WebP lossy": (webp(b"VP8 ", 16383), {}),
    "GIF frame beyond the canvas": (gif(1, 1, 0, 60000, 0), {"frame": 2}),
    "GIF first frame beyond the canvas": (gif(1, 1, 60000), {}),
    "GIF of many frames": (FRAMES, {"frame": 40, "max_pixels": 40000}),
    "GIF of many frames, from the end": (FRAMES, {"frame": -1, "max_pixels": 40000}),
    "BMP in run-length code": (rle_bmp(3000, 1, b"\1\1\0\0"), {"max_pixels": 10000}),
    "JPEG of many scans": (many_scans(200), {"max_pixels": 5000}),
}


@pytest.mark.parametrize("what", COSTLY)
def test_what_costs_more_than_its_pixels_is_refused(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # many people do; ours holds all the same
    data, options = COSTLY[what]
    with pytest.raises(ImageReadError, match="max_pixels="):
        load_image(data, **options)
    if "frame" not in options:
        batch = read_images([data, PICTURE], SMALL, **options)
        assert batch.indices == (1,)
        assert "max_pixels=" in str(batch.failures[0])


MEASURED = """
import pickle, resource, sys
from interpretdl.data_processor.decode import load_image
from interpretdl.errors import ImageReadError
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
resource.setrlimit(resource.RLIMIT_AS, (16 << 30, 16 << 30))
start = peak()
for what, (data, options) in pickle.load(sys.stdin.buffer).items():
    try:
        load_image(data, **options)
    except ImageReadError:
        pass
    if peak() - start > 100:
        sys.exit(f"{what} took {peak() - start} MB")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in other units")
def test_what_is_refused_takes_no_memory() -> None:
    command, given = [sys.executable, "-c", MEASURED], pickle.dumps(COSTLY)
    run = subprocess.run(command, input=given, capture_output=True, timeout=120)
    assert run.returncode == 0, run.stderr.decode()


def test_what_looks_costly_and_is_not_is_read() -> None:
    block = zlib.compress(bytes(256) * 256)
    tags = [*page(40, 40, 8), (322, 4, 1, 256), (323, 4, 1, 256), (325, 4, 1, len(block))]
    large_tile = tiff([*tags, (324, 4, 1, 8 + 2 + 12 * 10 + 4)], block)
    assert load_image(large_tile, max_pixels=65536).shape == (40, 40, 3)
    scans = encoded(PICTURE, "JPEG", progressive=True)
    assert load_image(scans, max_pixels=600).shape == (20, 30, 3)
    runs = load_image(rle_bmp(3, 2, b"\2\1\1\0\0\0\3\1\0\1"))
    assert (runs == [[[6, 5, 4]] * 3, [[6, 5, 4]] * 2 + [[3, 2, 1]]]).all()  # bottom row first
    assert (load_image(gif(3, 3, 0, 1, 2), frame=-1) == load_image(gif(3, 3, 0), frame=0)).all()


def test_comments_in_a_plain_ppm_cost_what_they_are_long(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    text = "P3 # kind\n2 2\n#size\n255\n" + " #\n#\r".join(map(str, values.ravel())) + "\n#end"
    np.testing.assert_array_equal(load_image(text.encode()), values)
    seen: list[bytes] = []
    monkeypatch.setitem(
        Image.OPEN, "PPM", (lambda stream, _: seen.append(stream.read()), Image.OPEN["PPM"][1])
    )
    with pytest.raises(ImageReadError):
        load_image(b"P2 1 1 255\n" + b"#\n" * 10_000 + b"7")
    assert seen == [b"P2 1 1 255\n7"]


def test_too_little_memory_is_the_pictures_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_memory(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("PIL.GifImagePlugin.GifImageFile.load_prepare", out_of_memory)
    batch = read_images([MAGIC["gif"], MAGIC["png"]], SMALL)
    assert batch.indices == (1,)
    assert "memory" in str(batch.failures[0])


# --- nothing is said besides the error -----------------------------------------------------------


def with_segment(jpeg: bytes, marker: int, data: bytes) -> bytes:
    return jpeg[:2] + struct.pack(">BBH", 255, marker, len(data) + 2) + data + jpeg[2:]


def with_chunks(png: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    made = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return png[:33] + b"".join(made) + png[33:]  # behind IHDR


BAD_EXIF = b"Exif\0\0II*\0" + struct.pack("<IHHHII", 8, 1, 0x10F, 2, 900, 5000)
TALKATIVE = {
    "JPEG, broken EXIF": (with_segment(MAGIC["jpeg"], 0xE1, BAD_EXIF), True),
    "JPEG, broken MPO": (with_segment(MAGIC["jpeg"], 0xE2, b"MPF\0II*\0\x08\0\0\0"), True),
    "PNG, broken APNG": (with_chunks(MAGIC["png"], (b"acTL", bytes(8))), True),
    "TIFF, a tag of two values": (tiff([*page(), (273, 4, 1, 0), (274, 3, 2, 1 << 16 | 1)]), True),
    "TIFF, a tag beyond the file": (tiff([*page(), (273, 4, 1, 0), (305, 2, 9999, 9999)]), True),
    "TIFF, 42 samples": (tiff([*page()[:-1], (277, 4, 1, 42), (273, 4, 1, 0)]), False),
    "GIF that grows": (gif(1, 1, 12000), False),
    **{
        f"TIFF, broken data, compression {code}": (
            tiff([*page(8, 8, code), (273, 4, 1, 8), (278, 4, 1, 8), (279, 4, 1, 64)]),
            False,
        )
        for code in (2, 3, 4, 5, 6, 7, 8, 32809, 34676, 34677, 34925, 50000, 50001)
    },
}


@pytest.mark.parametrize("action", ["always", "error"])
@pytest.mark.parametrize("what", TALKATIVE)
def test_pillow_and_libtiff_are_silent(
    what: str, action: Any, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    data, readable = TALKATIVE[what]
    with warnings.catch_warnings(record=True) as seen, caplog.at_level(logging.WARNING):
        warnings.simplefilter(action)
        if readable:
            assert load_image(data).ndim == 3
        else:
            with pytest.raises(ImageReadError):
                load_image(data)
    assert [str(warning.message) for warning in seen] == []
    assert capfd.readouterr().err == ""
    assert caplog.records == []


def test_what_others_say_meanwhile_is_heard(capfd: pytest.CaptureFixture[str]) -> None:
    class Talking(io.BytesIO):
        def read(self, *size: Any) -> bytes:
            os.write(2, b"mine\n")
            other = threading.Thread(target=from_pillow, args=("another thread's",))
            other.start()
            other.join()
            from_pillow("this thread's")
            warnings.warn("the stream's", UserWarning, stacklevel=1)
            return super().read(*size)

    def from_pillow(text: str) -> None:
        warnings.warn_explicit(text, UserWarning, "f.py", 1, module="PIL.TiffImagePlugin")

    broken = TALKATIVE["TIFF, broken data, compression 5"][0]
    before = list(warnings.filters)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with pytest.raises(ImageReadError):
            load_image(Talking(broken))
    assert warnings.filters == before
    assert {str(warning.message) for warning in seen[1:]} == {"another thread's", "the stream's"}
    assert set(capfd.readouterr().err.split()) == {"mine"}


@pytest.mark.skipif(not quiet._handler_setters(), reason="libtiff is hidden in this Pillow")
def test_libtiff_speaks_again_to_its_other_users(capfd: pytest.CaptureFixture[str]) -> None:
    broken = TALKATIVE["TIFF, broken data, compression 5"][0]
    with quiet.quiet_libtiff(), pytest.raises(ImageReadError):  # two at once
        load_image(broken)
    assert capfd.readouterr().err == ""
    with pytest.raises(OSError, match="-2"), Image.open(io.BytesIO(broken)) as image:
        image.load()
    assert capfd.readouterr().err != ""
