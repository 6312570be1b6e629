"""Chromium for tests: opens pages, looks at them and operates them as a person would.

It is spoken to through a pipe in the DevTools protocol, https://chromedevtools.github.io, which
needs no other package and opens no port.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PROGRAM = shutil.which("chromium") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(
    PROGRAM is None or sys.platform == "win32",
    reason="needs a browser: neither chromium nor google-chrome is on PATH",
)

SECONDS = 60
# Chromium reads from descriptor 3 and writes to 4. Copies first: the pipes may have these numbers.
LAUNCHER = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(each), fcntl.F_DUPFD_CLOEXEC, 10) for each in sys.argv[1:3]]
for end, number in zip(ends, (3, 4)):
    os.dup2(end, number)
os.execv(sys.argv[3], sys.argv[3:])
"""
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "ArrowLeft": 37, "ArrowRight": 39}
TEXTS = {"Enter": "\r", " ": " "}

# Texts whose colour is too near to what is behind them: WCAG's contrast, at least 4.5.
FAINT = """(() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const parse = colour => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return Array.from(canvas.getImageData(0, 0, 1, 1).data);
  };
  const light = rgb => {
    const [r, g, b] = rgb.slice(0, 3).map(v => v / 255)
      .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const colour = parse(getComputedStyle(e).backgroundColor);
      if (colour[3] > 250) return colour;
    }
    return [255, 255, 255, 255];
  };
  const faint = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let count = 0;
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !e.checkVisibility()) continue;
    if (["SCRIPT", "STYLE", "title"].includes(e.tagName)) continue;
    const style = getComputedStyle(e);
    const [a, b] = [parse(e.ownerSVGElement ? style.fill : style.color), behind(e)].map(light);
    const contrast = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    count += 1;
    if (contrast < 4.5) faint.push(walker.currentNode.data.trim().slice(0, 40) + " " + contrast);
  }
  return {count, faint};
})()"""


class Browser:
    """A running Chromium. Use `browser`, which ends it."""

    def __init__(self, read: int, write: int) -> None:
        self._read, self._write = read, write
        self._buffer, self._last = b"", 0
        self.pages: dict[str, Page] = {}

    def ask(self, method: str, session: str | None = None, **parameters: Any) -> Any:
        """Send a command; its answer. Events that come before it reach their pages."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + SECONDS
        while True:
            answer = self.next(end)
            if answer.get("id") == self._last:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def next(self, end: float) -> dict[str, Any]:
        """The next message, at the latest at that time."""
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0, end - time.monotonic()))
            part = os.read(self._read, 2**20) if ready else b""
            if not part:
                raise TimeoutError("Chromium has ended" if ready else "Chromium does not answer")
            self._buffer += part
        text, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        page = self.pages.get(message.get("sessionId", ""))
        if page is not None and "method" in message:
            page.heard(message["method"], message["params"])
        return message

    def open(self, file: Path, *, width: int = 1280, height: int = 800, dark: bool = False) -> Page:
        """Open a file in a window of that size; below 600 pixels it is a telephone's."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self.pages[session] = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.ask(f"{domain}.enable")
        page.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        page.ask("Emulation.setEmulatedMedia", features=[scheme])
        page.ask("Page.navigate", url=file.as_uri())
        end = time.monotonic() + SECONDS
        while not page.loaded:
            self.next(end)
        return page


class Page:
    """A page in the browser.

    Attributes:
        errors: what its console has shown as an error.
        requests: addresses that it asked for.
    """

    def __init__(self, browser: Browser, session: str) -> None:
        self.browser, self.session, self.loaded = browser, session, False
        self.errors: list[str] = []
        self.requests: list[str] = []

    def heard(self, event: str, content: dict[str, Any]) -> None:
        """Note an event."""
        if event == "Page.loadEventFired":
            self.loaded = True
        elif event == "Network.requestWillBeSent":
            self.requests.append(content["request"]["url"])
        elif event == "Runtime.exceptionThrown":
            self.errors.append(str(content["exceptionDetails"]))
        elif event == "Log.entryAdded" and content["entry"]["level"] in ("error", "warning"):
            self.errors.append(content["entry"]["text"])
        elif event == "Runtime.consoleAPICalled" and content["type"] in ("error", "warning"):
            self.errors.append(str(content["args"]))

    def ask(self, method: str, **parameters: Any) -> Any:
        return self.browser.ask(method, self.session, **parameters)

    def run(self, expression: str) -> Any:
        """The value of a JavaScript expression, in which promises are awaited."""
        answer = self.ask(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def until(self, expression: str) -> None:
        """Wait until a JavaScript expression is true."""
        end = time.monotonic() + SECONDS
        while not self.run(expression):
            if time.monotonic() > end:
                raise TimeoutError(f"this never came true: {expression}")
            time.sleep(0.01)

    def press(self, key: str) -> None:
        """Press a key and let it go."""
        what = {"key": key, "code": "Space" if key == " " else key}
        what |= {"windowsVirtualKeyCode": KEYS[key]} | (
            {"text": TEXTS[key]} if key in TEXTS else {}
        )
        self.ask("Input.dispatchKeyEvent", type="keyDown", **what)
        what.pop("text", None)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **what)

    def click(self, selector: str) -> None:
        """Click the middle of an element, again where the click did not arrive.

        A click reaches what was drawn last: on a busy machine that may be the page before it moved.
        """
        find = f"document.querySelector({json.dumps(selector)})"
        self.run(
            f"window.arrived = false; {find}.addEventListener("
            "'click', () => { window.arrived = true; }, {once: true, capture: true})"
        )
        end = time.monotonic() + SECONDS
        while True:
            x, y = self.run(
                f"(async () => {{ const e = {find};"
                "e.scrollIntoView({block: 'center', inline: 'center', behavior: 'instant'});"
                "for (let i = 0; i < 2; i++) await new Promise(requestAnimationFrame);"
                "const r = e.getBoundingClientRect();"
                "return [r.x + r.width / 2, r.y + r.height / 2]; })()"
            )
            self.click_at(x, y)
            if self.run("window.arrived"):
                return
            if time.monotonic() > end:
                raise TimeoutError(f"no click arrived at {selector}")

    def click_at(self, x: float, y: float) -> None:
        """Click there."""
        for event in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=event, x=x, y=y, button="left", clickCount=1)

    def screenshot(self, file: Path, *, whole: bool = False) -> None:
        """The window, or the whole page, as a PNG file."""
        found = self.ask("Page.captureScreenshot", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(found["data"]))

    def close(self) -> None:
        self.ask("Page.close")
        del self.browser.pages[self.session]


@contextlib.contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A Chromium that ends with the block; `profile` is a folder for what it keeps."""
    assert PROGRAM is not None
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    command = [
        PROGRAM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--no-first-run", "--disable-background-networking", "--disable-component-update",
        "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank",
    ]  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", LAUNCHER, str(theirs_in), str(theirs_out), *command],
        pass_fds=(theirs_in, theirs_out), env={**os.environ, "HOME": str(profile)},
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(theirs_in)
    os.close(theirs_out)
    running = Browser(ours_in, ours_out)
    try:
        yield running
        with contextlib.suppress(TimeoutError, OSError):
            running.ask("Browser.close")
            process.wait(10)
    finally:
        process.kill()
        process.wait()
        os.close(ours_in)
        os.close(ours_out)
