"""Downloads from a server on 127.0.0.1 that answers well, badly, late, and not at all."""

from __future__ import annotations

import hashlib
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import paddle
import pytest

from interpretdl.errors import InputError, WeightsError
from interpretdl.lrp_model import download, models
from interpretdl.lrp_model.download import cache_directory, weights_table

CONTENT = bytes(range(256)) * 5000
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


class Server(ThreadingHTTPServer):
    """Answers by the path: /good, /corrupt, /truncated, /stalled, /huge, /unsized, /missing."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.asked: Counter[str] = Counter()
        self.content = CONTENT
        self.stop = threading.Event()
        self.pause = 0.0

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{path}"


class Answer(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *arguments: object) -> None:
        """Nothing on standard error."""

    def do_GET(self) -> None:
        path = self.path.strip("/")
        self.server.asked[path] += 1
        content = self.server.content
        if path == "missing":
            self.send_error(404)
            return
        if path == "moved":
            self.send_response(302)
            self.send_header("Location", "/good")
            self.end_headers()
            return
        self.send_response(200)
        if path != "unsized":
            self.send_header("Content-Length", str(1 << 40 if path == "huge" else len(content)))
        self.end_headers()
        if path == "corrupt":
            content = content[:-1] + b"?"
        if path in ("truncated", "stalled", "huge"):
            content = content[: len(content) // 2]
        time.sleep(self.server.pause)
        self.wfile.write(content)
        if path == "stalled":
            self.server.stop.wait(20)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.stop.set()
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("path", ["good", "unsized", "moved"])
def test_good_answer_is_kept_and_not_asked_for_again(server, tmp_path, capfd, path):
    wanted = tmp_path / "new folder" / "w.pdparams"
    for _ in range(2):
        assert download.download(server.url(path), MD5, wanted) == wanted
        assert wanted.read_bytes() == CONTENT
    assert server.asked[path] == 1
    assert not list(tmp_path.rglob("*.part"))
    assert capfd.readouterr().err == ""  # no progress bar where nobody watches


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("corrupt", "md5 checksum"),
        ("truncated", "ended after 640000 of 1280000 bytes"),
        ("stalled", "timed out"),
        ("huge", "announces 1099511627776 bytes"),
        ("missing", "404"),
    ],
)
def test_bad_answers_leave_nothing_and_say_what_to_do(server, tmp_path, path, reason):
    wanted = tmp_path / "w.pdparams"
    start = time.monotonic()
    with pytest.raises(WeightsError, match=reason) as caught:
        download.download(server.url(path), MD5, wanted, timeout=0.3)
    assert time.monotonic() - start < 10
    assert "by hand" in str(caught.value)
    assert server.url(path) in str(caught.value)
    assert not wanted.exists()
    assert not list(tmp_path.glob("*.part"))
    assert download.download(server.url("good"), MD5, wanted) == wanted  # and the next try works


def test_offline(tmp_path):
    with socket.socket() as closed:  # a port on which nobody listens
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/w"
        with pytest.raises(WeightsError, match="Check the connection"):
            download.download(url, MD5, tmp_path / "w", timeout=1)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        *((url, "http or https only") for url in ("file:///etc/hostname", "ftp://127.0.0.1/w")),
        *((url, "http or https only") for url in ("w.pdparams", "", "a" * 10**6, "\x1b[31mhttp:")),
        *(
            (url, "no URL")
            for url in ("http://[x", "http://[::1", "http://h:99999/", "http://h:x/")
        ),
        ("http://127.0.0.1:" + "9" * 5000, "no URL"),
        *((url, "name a host") for url in ("http://", "http:///w", "https://:80/", "http:w")),
        ("http://me:secret@127.0.0.1/w", "name a host"),
        *((f"http://{host}/w", "beyond ASCII") for host in ("exämple", "a b", "a\nb", "a\r\nX")),
        ("http://127.0.0.1/é", "beyond ASCII"),
        *((f"http://{host}/w", "cannot download") for host in ("a" * 300, "..", "127.0.0.1:0")),
    ],
    ids=lambda value: value[:30],
)
def test_urls(tmp_path, url, reason):
    with pytest.raises(WeightsError, match=reason) as caught:
        download.download(url, MD5, tmp_path / "w", timeout=1)
    assert len(str(caught.value)) < 1000
    assert str(caught.value).isprintable()
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize("url", [None, 3, b"http://127.0.0.1/w"])
def test_what_is_no_url(tmp_path, url):
    with pytest.raises(InputError, match="a URL is expected"):
        download.download(url, MD5, tmp_path / "w")


def test_damaged_file_in_the_cache_is_replaced(server, tmp_path, caplog):
    wanted = tmp_path / "w"
    wanted.write_bytes(b"half a file")
    download.download(server.url("good"), MD5, wanted)
    assert wanted.read_bytes() == CONTENT
    assert "downloading it again" in caplog.text


def test_left_over_part_of_a_killed_process_does_no_harm(server, tmp_path):
    (tmp_path / "w.part").write_bytes(b"x" * 2_000_000)
    download.download(server.url("good"), MD5, tmp_path / "w")
    assert (tmp_path / "w").read_bytes() == CONTENT


def test_folder_that_cannot_be_made(server, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(WeightsError, match="cannot download"):
        download.download(server.url("good"), MD5, tmp_path / "file" / "w")


def test_two_processes_ask_once(server, tmp_path):
    server.pause = 0.5  # long enough for both to be there
    program = (
        "import sys, pathlib\n"
        "from interpretdl.lrp_model.download import download\n"
        "url, md5, path, meet = sys.argv[1:]\n"
        "pathlib.Path(meet, str(__import__('os').getpid())).touch()\n"
        "while len(list(pathlib.Path(meet).iterdir())) < 2: __import__('time').sleep(.01)\n"
        "print(download(url, md5, pathlib.Path(path)).stat().st_size)\n"
    )
    meet = tmp_path / "meet"
    meet.mkdir()
    command = [sys.executable, "-c", program]
    command += [server.url("good"), MD5, str(tmp_path / "w"), str(meet)]
    root = str(Path(__file__).resolve().parents[2])
    both = [
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            text=True,
            cwd=root,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([root, *sys.path])},
        )
        for _ in range(2)
    ]
    try:
        answers = [process.communicate(timeout=120)[0] for process in both]
    finally:
        for process in both:
            process.kill()
            process.communicate()
    assert answers == [f"{len(CONTENT)}\n"] * 2
    assert server.asked["good"] == 1


def test_without_a_checksum_the_length_is_checked(server, tmp_path, monkeypatch):
    monkeypatch.setenv("INTERPRETDL_HOME", str(tmp_path))
    for path in ("truncated", "good"):
        table = {"deit_tiny_patch16_224": (server.url(path), None)}
        monkeypatch.setattr(download, "weights_table", lambda table=table: table)
        if path == "truncated":
            with pytest.raises(WeightsError, match="ended after 640000 of 1280000 bytes"):
                download.published("deit_tiny_patch16_224")
            assert [path.suffix for path in tmp_path.glob("weights/*")] == [".lock"]
    for _ in range(2):
        found = download.published("deit_tiny_patch16_224")
        assert found == tmp_path / "weights" / "deit_tiny_patch16_224.pdparams"
        assert found.read_bytes() == CONTENT
    assert server.asked["good"] == 1


def test_cache_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("INTERPRETDL_HOME", str(tmp_path))
    assert cache_directory() == tmp_path
    monkeypatch.delenv("INTERPRETDL_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_directory() == tmp_path / ".cache" / "interpretdl"


def test_table_is_paddles():
    table = weights_table()
    for name in models():
        if hasattr(paddle.vision.models, name):
            url, md5 = table[name]
            assert url.startswith("https://")
            assert url.endswith(f"/{name}.pdparams")
            assert len(md5) == 32


@pytest.mark.parametrize(
    ("name", "last"), [("resnet18", "fc.weight"), ("deit_tiny_patch16_224", "head.weight")]
)
def test_pretrained_network_from_the_server(server, tmp_path, monkeypatch, name, last):
    source = models()[name]()
    state = {key: tensor.numpy() for key, tensor in source.state_dict().items()}
    server.content = pickle.dumps(state, 4)
    md5 = hashlib.md5(server.content, usedforsecurity=False).hexdigest()
    if weights_table()[name][1] is None:
        md5 = None
    monkeypatch.setattr(download, "weights_table", lambda: {name: (server.url("good"), md5)})
    monkeypatch.setenv("INTERPRETDL_HOME", str(tmp_path))
    for _ in range(2):
        model = models()[name](pretrained=True)
        np.testing.assert_array_equal(model.state_dict()[last].numpy(), state[last])
    assert server.asked["good"] == 1
    assert model.class_names[281] == "tabby, tabby cat"
    with pytest.raises(WeightsError, match="mis-shaped"):
        models()[name](pretrained=True, num_classes=10)
