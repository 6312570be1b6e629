"""Connections to servers that may send slowly, endlessly, or lead elsewhere."""

from __future__ import annotations

import contextlib
import functools
import http.client
import io
import time
import urllib.request
from collections.abc import Iterator
from typing import IO, Any

from ..errors import WeightsError
from ..pickles.files import brief

__all__ = ["Pace", "opener"]


class Pace:
    """What was received of all answers to a request; gives up on too little and on too much.

    It sees every byte from a status line on. Timeouts of sockets see only silence: a byte now and
    then would keep a connection open for ever.

    Args:
        limit: bytes; can be raised later.
    """

    WINDOW = 30.0  # seconds of waiting
    LEAST = 4096  # bytes a second in each window

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.received = 0
        self._waited = 0.0
        self._before = 0  # received when the window began

    def note(self, count: int, seconds: float) -> None:
        """So many bytes came after so many seconds of waiting.

        Raises:
            WeightsError: the window is over and had too few bytes, or the limit is passed.
        """
        self.received += count
        if self.received > self.limit:
            raise WeightsError(f"the server has sent more than {self.limit} bytes")
        self._waited += seconds
        if self._waited < self.WINDOW:
            return
        came = self.received - self._before
        if came < self.LEAST * self._waited:
            raise WeightsError(
                f"the server is too slow: {came} bytes in {self._waited:.3g} seconds, at least "
                f"{self.LEAST} a second are expected"
            )
        self._waited, self._before = 0.0, self.received


class _Watched(io.RawIOBase):
    """What a socket receives, with its pace."""

    def __init__(self, raw: Any, pace: Pace) -> None:
        self._raw, self._pace = raw, pace

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        start = time.monotonic()
        count: int = self._raw.readinto(buffer)
        self._pace.note(count, time.monotonic() - start)
        return count

    def readall(self) -> bytes:
        # So the bodies of redirections are read, and chunks that claim a negative size.
        self._pace.limit = min(self._pace.limit, self._pace.received + (1 << 20))
        return super().readall()

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Http(urllib.request.AbstractHTTPHandler):
    """http and https, watched."""

    def __init__(self, pace: Pace, opened: contextlib.ExitStack) -> None:
        super().__init__()

        class Answer(http.client.HTTPResponse):
            def __init__(self, *args: Any, **options: Any) -> None:
                super().__init__(*args, **options)
                raw: Any = self.fp
                self.fp: Any = io.BufferedReader(_Watched(raw.detach(), pace))
                opened.callback(self.close)

        self._answer = Answer

    def _connection(
        self, kind: type[http.client.HTTPConnection], host: str, **options: Any
    ) -> http.client.HTTPConnection:
        connection = kind(host, **options)
        connection.response_class = self._answer
        return connection

    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        connect: Any = functools.partial(self._connection, http.client.HTTPConnection)
        return self.do_open(connect, request)

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        connect: Any = functools.partial(self._connection, http.client.HTTPSConnection)
        return self.do_open(connect, request)

    http_request = https_request = urllib.request.AbstractHTTPHandler.do_request_


class _Redirects(urllib.request.HTTPRedirectHandler):
    """To http and https only, and never from https to http."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """The request that follows, or an error."""
        scheme = newurl.partition(":")[0].lower()
        before = req.full_url.partition(":")[0].lower()  # `req.type` may be a proxy's
        if scheme != "https" and not (scheme == "http" and before == "http"):
            fp.close()
            raise WeightsError(
                f"the server leads from {before} to {brief(newurl)}; only http and https are "
                "followed, and https not to http"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@contextlib.contextmanager
def opener(pace: Pace) -> Iterator[urllib.request.OpenerDirector]:
    """What opens http and https and nothing else: no files, no ftp, no data in URLs.

    Every connection is closed at the end; urllib leaves those open whose redirection fails.
    """
    director = urllib.request.OpenerDirector()
    with contextlib.ExitStack() as opened:
        for handler in (
            urllib.request.ProxyHandler(),
            _Http(pace, opened),
            _Redirects(),
            urllib.request.HTTPErrorProcessor(),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.UnknownHandler(),
        ):
            director.add_handler(handler)
        yield director
