"""Servers that mean harm, and caches in which something is in the way. All on 127.0.0.1."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from interpretdl.errors import WeightsError
from interpretdl.lrp_model import connection, download
from tests.raw_server import Server

pytestmark = [
    pytest.mark.timeout(120),  # seconds; what gives way here hangs
    pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning"),
]

CONTENT = bytes(range(256)) * 500
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(CONTENT) + CONTENT


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(connection.Pace, "WINDOW", 0.5)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = Server()
    yield server
    server.stop()


def refused(url: str, folder: Path, timeout: float = 5.0) -> str:
    """The message; nothing is left behind."""
    wanted = folder / "w"
    with pytest.raises(WeightsError) as caught:
        download.download(url, MD5, wanted, timeout=timeout)
    message = str(caught.value)
    assert "by hand" in message
    assert len(message) < 1200
    assert message.isprintable()
    assert sorted(path.name for path in folder.iterdir()) == ["w.lock"]
    return message


# ---- slow and endless ----

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("start", "drop"),
    [
        (b"", b"H"),
        (HEAD, b"X"),
        (HEAD, b"X: y\r\n"),
        (HEAD + b"\r\n", b"x"),
        (HEAD + b"Content-Length: 128000\r\n\r\n", b"x"),
        (CHUNKED, b"1\r\nx\r\n"),
        (CHUNKED + b"0\r\n", b"x: y\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", b"x"),
    ],
    ids=["status", "a head", "heads", "body", "sized", "chunks", "trailers", "continue", "moved"],
)
def test_a_server_that_drips(server, tmp_path, start, drop):
    """For 20 seconds, a tenth of a second between drops: no timeout of a socket is met."""

    def drip(send: Callable[[bytes], None]) -> None:
        send(start)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            send(drop)
            time.sleep(0.05)

    assert "too slow" in refused(server.answer(drip), tmp_path)


def test_a_server_that_is_fast_enough(server, tmp_path, monkeypatch):
    """Pauses are no drip: in each window enough has come."""
    monkeypatch.setattr(connection.Pace, "WINDOW", 0.1)

    def slow(send: Callable[[bytes], None]) -> None:
        for start in range(0, len(GOOD), 32_000):
            send(GOOD[start : start + 32_000])
            time.sleep(0.15)

    download.download(server.answer(slow), MD5, tmp_path / "w")
    assert (tmp_path / "w").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (HEAD + b"\r\n", bytes(1 << 16)),
        (CHUNKED, b"10000\r\n" + bytes(1 << 16) + b"\r\n"),
        (CHUNKED + b"-1\r\n", bytes(1 << 16)),
        (CHUNKED + b"0\r\n", b"x: y\r\n" * 10_000),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", bytes(1 << 16)),
    ],
    ids=["body", "chunks", "negative chunk", "trailers", "continue", "moved"],
)
def test_a_server_that_never_stops(server, tmp_path, monkeypatch, start, more):
    """Up to 64 MB, where 4 are the most."""
    monkeypatch.setattr(download, "_LARGEST", 4 << 20)

    def flood(send: Callable[[bytes], None]) -> None:
        send(start)
        for _ in range((64 << 20) // len(more)):
            send(more)

    url = server.answer(flood)
    tracemalloc.start()
    try:
        assert "has sent more than" in refused(url, tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


# ---- answers that are none ----


def sized(length: str, content: bytes = CONTENT, status: str = "200 OK", more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{more}\r\n".encode() + content


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "closed connection"),
        (b"HTTP/1.1 200 O", "closed|ended|checksum|length"),
        (HEAD + b"Content-Le", "checksum|ended"),
        (b"\x00\xff" * 100 + b"\r\n", "x00"),
        (b"SSH-2.0-OpenSSH\r\n" + b"x" * 50, "SSH"),
        (b"HTTP/1.1 " + b"9" * 5000 + b" OK\r\n\r\n", "999"),
        (b"HTTP/1.1 abc OK\r\n\r\n", "abc"),
        (b"HTTP/9.9 200 OK\r\n\r\n", "9.9"),
        (HEAD + b"X: " + b"y" * 100_000 + b"\r\n\r\n", "more than 65536 bytes"),
        (HEAD + b"X: y\r\n" * 200 + b"\r\n", "more than 100 headers"),
        (sized("0", b""), "checksum"),
        (sized("10"), "checksum"),
        (sized("128001"), "ended after 128000 of 128001 bytes"),
        (sized(str(1 << 62)), "announces 4611686018427387904 bytes"),
        (sized("9" * 4000), "announces more bytes than there are"),
        (sized("9" * 5000, CONTENT[:9]), "checksum"),
        (sized("-5", CONTENT[:9]), "checksum"),
        (sized("²", CONTENT[:9]), "checksum"),
        (sized("128000", status="204 No Content"), "204 No Content"),
        (sized("128000", status="206 Partial Content"), "206 Partial Content"),
        (sized("128000", status="203 \x1b[31mred"), "203"),
        (sized("0", b"", status="304 Not Modified"), "304"),
        (sized("0", b"", status="300 Multiple Choices"), "300"),
        (sized("0", b"", status="401 Unauthorized"), "401"),
        (sized("0", b"", status="407 Proxy"), "407"),
        (sized("0", b"", status="500 " + "x" * 60_000), "500"),
        (sized("0", b"", status="999 ?"), "999"),
        (sized("128000", more="Content-Encoding: gzip\r\n"), "encoded as gzip"),
        (CHUNKED + b"zz\r\n", "IncompleteRead"),
        (CHUNKED + b"5\r\nabc", "IncompleteRead"),
        (CHUNKED + b"-5\r\nabc", "read length|IncompleteRead"),
        (CHUNKED + b"9" * 100_000, "chunk size"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_answers_that_are_none(server, tmp_path, answer, reason):
    message = refused(server.answer(answer), tmp_path)
    assert any(word in message for word in reason.split("|")), message
    download.download(server.answer(GOOD), MD5, tmp_path / "w")  # and the next try works


@pytest.mark.parametrize(
    "answer",
    [
        GOOD + b"and more" * 10_000,
        CHUNKED + b"1f400\r\n" + CONTENT + b"\r\n0\r\nx: y\r\n\r\n",
        # a length beside chunks does not count
        HEAD
        + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n1f400\r\n"
        + CONTENT
        + b"\r\n0\r\n\r\n",
        sized("128000", more="Content-Encoding: identity\r\n"),
        b"HTTP/1.1 100 Continue\r\n\r\n" + GOOD,
        b"HTTP/1.0 200 OK\r\n\r\n" + CONTENT,
    ],
    ids=["more than announced", "chunks", "both", "identity", "continue", "HTTP 1.0"],
)
def test_odd_answers_that_are_good(server, tmp_path, answer):
    download.download(server.answer(answer), MD5, tmp_path / "w")
    assert (tmp_path / "w").read_bytes() == CONTENT


# ---- redirections ----


def moved(place: str, code: int = 302) -> bytes:
    return f"HTTP/1.1 {code} Moved\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n".encode(
        "latin-1"
    )


@pytest.mark.parametrize("code", [301, 302, 303, 307])
@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("ftp://127.0.0.1/w", "to ftp://127.0.0.1/w; only http and https"),
        ("FTP://127.0.0.1/w", "to ftp://127.0.0.1/w; only http and https"),
        ("file:///etc/hostname", "not allowed"),
        ("data:text/plain,x", "not allowed"),
        ("http://[x", "IPv6"),
        ("http://", "infinite loop"),
        ("http://127.0.0.1:99999999/", "cannot download"),
        ("http://127.0.0.1:x/", "port"),
        ("http://" + "a" * 300 + "/", "label"),
        ("//[", "IPv6"),
        ("x" * 60_000, "infinite loop"),
        ("/w", "infinite loop"),
        ("\xe9\x80\x1b[31m", "infinite loop"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_redirections_that_are_not_followed(server, tmp_path, place, reason, code):
    message = refused(server.answer(moved(place, code)), tmp_path)
    assert any(word in message for word in reason.split("|")), message


def test_redirections_without_end(server, tmp_path):
    places = [moved(f"/{i}") for i in range(50)]
    assert "infinite loop" in refused(server.answer(*places), tmp_path)


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 302 Moved\r\n\r\n", moved("/x", 308), moved("/x", 310)]
)
def test_redirections_to_nowhere(server, tmp_path, answer):
    assert "HTTP Error 3" in refused(server.answer(answer), tmp_path)


@pytest.mark.parametrize("place", ["http://127.0.0.1/w", "HTTP://127.0.0.1/w"])
def test_https_does_not_lead_to_http(tmp_path, place):
    request = urllib.request.Request("https://127.0.0.1/w")
    with open(os.devnull, "rb") as body, pytest.raises(WeightsError, match="https not to http"):
        connection._Redirects().redirect_request(request, body, 302, "Moved", {}, place)
    for before in ("http", "https"):
        request = urllib.request.Request(f"{before}://127.0.0.1/w")  # noqa: S310 - nothing is opened
        found = connection._Redirects().redirect_request(
            request, None, 302, "Moved", {}, "https://127.0.0.1/x"
        )
        assert found.full_url == "https://127.0.0.1/x"


def test_a_proxy_that_is_none(server, tmp_path, monkeypatch):
    for proxy in ("http://[x", "ftp://127.0.0.1:1", "socks5://127.0.0.1:1", "http://127.0.0.1:x"):
        monkeypatch.setenv("http_proxy", proxy)
        monkeypatch.delenv("no_proxy", raising=False)
        refused("http://127.0.0.2/w", tmp_path)


# ---- the cache ----


def test_a_download_that_was_killed_is_done_again(server, tmp_path):
    """kill -9 in the middle: its lock is free, its part is replaced."""
    program = (
        "import sys, pathlib\n"
        "from interpretdl.lrp_model.download import download\n"
        "download(sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3]))\n"
    )
    root = str(Path(__file__).resolve().parents[2])
    hold = threading.Event()

    def half(send: Callable[[bytes], None]) -> None:
        send(GOOD[:100_000])
        hold.wait(60)

    url = server.answer(half)
    process = subprocess.Popen(
        [sys.executable, "-c", program, url, MD5, str(tmp_path / "w")],
        cwd=root,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([root, *sys.path])},
    )
    try:
        part = tmp_path / "w.part"
        while process.poll() is None and not part.exists():
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        hold.set()
    assert part.exists()
    download.download(server.answer(GOOD), MD5, tmp_path / "w")
    assert (tmp_path / "w").read_bytes() == CONTENT
    assert not part.exists()


def test_a_process_that_keeps_the_lock(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "_WAIT", 0.2)
    held = threading.Event()
    done = threading.Event()

    def hold() -> None:
        with FileLock(tmp_path / "w.lock"):
            held.set()
            done.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(60)
    try:
        with pytest.raises(WeightsError, match=r"another process .* for 0\.2 seconds"):
            download.download("http://127.0.0.1:1/w", MD5, tmp_path / "w")
    finally:
        done.set()
        thread.join()


@pytest.mark.skipif(sys.platform == "win32", reason="pipes with names are Unix's")
@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, kind) for name in ("w", "w.part") for kind in ("pipe", "folder", "device")]
    + [("w.lock", "folder")],
)
def test_what_is_in_the_way(server, tmp_path, name, kind):
    """A pipe is not waited for, a link is not written through, nothing of others is removed."""
    place = tmp_path / name
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "folder":
        place.mkdir()
    else:
        place.symlink_to("/dev/zero")
    url = server.answer(GOOD)
    if name == "w.part" and kind != "folder":
        download.download(url, MD5, tmp_path / "w")
        assert (tmp_path / "w").read_bytes() == CONTENT
        return
    with pytest.raises(WeightsError, match="move it away" if name == "w" else "cannot download"):
        download.download(url, MD5, tmp_path / "w", timeout=1)
    assert place.is_symlink() or not place.is_file()


def test_a_part_that_is_a_link_is_not_written_through(server, tmp_path):
    others = tmp_path / "others"
    others.write_text("mine")
    (tmp_path / "w.part").symlink_to(others)
    download.download(server.answer(GOOD), MD5, tmp_path / "w")
    assert others.read_text() == "mine"
    assert not (tmp_path / "w").is_symlink()


def test_no_home(monkeypatch):
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("INTERPRETDL_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nobody)
    with pytest.raises(WeightsError, match="set INTERPRETDL_HOME"):
        download.cache_directory()
