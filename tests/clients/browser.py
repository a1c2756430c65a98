"""Chromium without a window, spoken to through the pipe of its DevTools protocol."""

import base64
import json
import os
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pytest
from tests.clients.programs import ENVIRONMENT, need

START_S: Final = 30.0
ANSWER_S: Final = 15.0
FLAGS: Final = (
    "--headless=new",
    "--no-sandbox",  # which root may not have
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--no-proxy-server",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)

Value = dict[str, Any]


class Browser:
    """One page of it. `requested` are the addresses that the page made it ask for."""

    def __init__(self, process: subprocess.Popen[bytes], reads: int, writes: int) -> None:
        self.process = process
        self.requested: list[str] = []
        self._loaded = 0
        self._reads = reads
        self._writes = writes
        self._buffer = b""
        self._id = 0
        self._answers: dict[int, Value] = {}
        self._session = ""
        target = self.call("Target.createTarget", START_S, url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        self.call("Page.enable")
        self.call("Network.enable")
        self.call("Security.setIgnoreCertificateErrors", ignore=True)

    def call(self, method: str, seconds: float = ANSWER_S, **parameters: object) -> Value:
        """Have one thing done, and return what it brings."""
        self._id += 1
        number = self._id
        message: Value = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._writes, json.dumps(message).encode() + b"\0")
        self._until(lambda: number in self._answers, seconds)
        answer = self._answers.pop(number)
        if "error" in answer:
            pytest.fail(f"{method}: {answer['error']}")
        result: Value = answer["result"]
        return result

    def screen(self, width: int, height: int, dark: bool = False) -> None:
        """Be a screen of that many CSS pixels; a narrow one is a phone's."""
        phone = width < 600
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, url: str) -> None:
        """Go there and wait until it is all there."""
        self.requested.clear()
        before = self._loaded
        failed = self.call("Page.navigate", url=url).get("errorText")
        if failed:
            pytest.fail(f"{url}: {failed}")
        self._until(lambda: self._loaded > before, ANSWER_S)

    def value(self, expression: str) -> Any:
        """Return what an expression of JavaScript is worth in the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"]
        return found.get("value")

    def picture(self, path: Path) -> None:
        """Write a PNG of the whole page."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def _until(self, done: Any, seconds: float) -> None:
        give_up = time.monotonic() + seconds
        while not done():
            left = give_up - time.monotonic()
            if left <= 0 or not select.select([self._reads], [], [], left)[0]:
                pytest.fail("the browser does not answer")
            data = os.read(self._reads, 1 << 20)
            if not data:
                pytest.fail("the browser has ended")
            *messages, self._buffer = (self._buffer + data).split(b"\0")
            for message in map(json.loads, messages):
                self._take(message)

    def _take(self, message: Value) -> None:
        if "id" in message:
            self._answers[message["id"]] = message
        elif message["method"] == "Page.loadEventFired":
            self._loaded += 1
        elif message["method"] == "Network.requestWillBeSent":
            self.requested.append(message["params"]["request"]["url"])


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A browser with nothing in it, which ends with the block."""
    need("chromium", "bash")
    from_us, ours = os.pipe()
    theirs, to_us = os.pipe()
    script = f'exec chromium "$@" 3<&{from_us} 4>&{to_us}'
    with subprocess.Popen(
        ["bash", "-c", script, "bash", *FLAGS, f"--user-data-dir={profile}"],
        pass_fds=(from_us, to_us),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**ENVIRONMENT, "HOME": str(profile)},
    ) as process:
        os.close(from_us)
        os.close(to_us)
        try:
            page = Browser(process, theirs, ours)
            yield page
            with suppress(OSError):
                os.write(ours, b'{"id": 0, "method": "Browser.close"}\0')
            process.wait(ANSWER_S)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            os.close(ours)
            os.close(theirs)
