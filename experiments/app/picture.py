"""Pictures of the browser UI, taken by a headless Chromium: the story of a scenario, step by step, until its fund is exhausted."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

from model.errors import ScenarioError, fault

SIZE: Final = {"width": 1280, "height": 720}
ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--no-first-run",
)
"""How Chromium runs in a container, and asks nobody on the internet for anything."""
LONGEST: Final = 400
"""Steps after which a fund that is not exhausted is taken as it is."""
AFTER: Final = 2
"""Steps taken after the fund is exhausted, so that what follows can be seen."""
SERVER: Final = """
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
from experiments.cli import main
main(sys.argv[1:])
"""
"""A server that ends with whoever holds the other end of its input, however that ends."""
PARTING: Final = 10.0
"""Seconds that a server has to end when it is asked to."""


def chromium() -> str | None:
    """Where a Chromium or Chrome is installed."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((path for path in map(shutil.which, names) if path), None)


@contextmanager
def served(*words: str, patience: float = 60.0) -> Iterator[str]:
    """A server of its own on a free port of this machine; its address. It is gone afterwards, and also if this process is killed.

    Args:
        words: of the command `backstop app`.
        patience: seconds until it must answer.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", SERVER, "app", *words, "--port", str(port)]
    address = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryFile("w+") as said:  # a pipe that nobody reads would fill up, and stop it
        process = subprocess.Popen(
            command, env={**os.environ, "PYTHONPATH": path}, stdin=subprocess.PIPE, stdout=said, stderr=subprocess.STDOUT
        )
        try:
            _wait(f"{address}/readyz", process, patience, said)
            yield address
        finally:
            _end(process)


def take(folder: Path, scenario: str, seed: int) -> list[Path]:
    """Writes `backstop.png`, `network.png` and `market.png` of the moment after the fund is exhausted.

    Raises:
        ScenarioError: no Chromium, or no Playwright to drive it.
    """
    try:
        from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only pictures and tests need it
    except ImportError:
        raise ScenarioError([fault("app", None, "--picture", "no Playwright", "pip install 'backstop[browser]'")]) from None
    where = chromium()
    if where is None:
        raise ScenarioError([fault("app", None, "--picture", "no Chromium", "one on the PATH")])
    folder.mkdir(parents=True, exist_ok=True)
    with served(scenario, "--seed", str(seed)) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=where, args=list(ARGUMENTS))
        page = browser.new_page(viewport=SIZE)
        page.goto(address)
        _until_exhausted(page)
        written = [_shot(page, folder, name) for name in ("Backstop", "Market", "Network")]
        browser.close()
    return written


def _until_exhausted(page: Any) -> None:
    """Steps on by the page's own button."""
    page.locator(".cards").wait_for()
    page.wait_for_timeout(1500)
    left = AFTER
    for step in range(1, LONGEST + 1):
        page.get_by_role("button", name="Step", exact=True).click()
        page.locator(".clock", has_text=f"step {step:,} ").wait_for()
        if page.locator(".story.empty, .story.insolvent").count():
            left -= 1
        if left < 0 or page.locator(".clock", has_text="end of the scenario").count():
            return


def _shot(page: Any, folder: Path, name: str) -> Path:
    """One page, when its charts have been drawn and its waves have come."""
    page.get_by_role("tab", name=name).click()
    page.mouse.move(640, 715)
    page.wait_for_timeout(2500)
    path = folder / f"{name.lower()}.png"
    page.screenshot(path=path)
    return path


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Asks it to end, and makes it if it does not."""
    process.terminate()
    try:
        process.wait(PARTING)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    finally:
        assert process.stdin is not None
        process.stdin.close()


def _wait(address: str, process: "subprocess.Popen[bytes]", patience: float, said: IO[str]) -> None:
    """Until the server answers.

    Raises:
        RuntimeError: it has ended, or says nothing.
    """
    until = time.monotonic() + patience
    while time.monotonic() < until:
        if process.poll() is not None:
            said.seek(0)
            raise RuntimeError(f"the server ended: {said.read()}")
        try:
            with urllib.request.urlopen(address, timeout=1):  # noqa: S310 - our own server
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"the server said nothing for {patience:g} s")
