"""A server of our own and a Chromium that is installed; without either, a plain reason to skip."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("solara", reason="the browser UI's packages are not installed: pip install 'backstop[app]'")
pytest.importorskip("playwright", reason="Playwright is not installed: pip install 'backstop[browser]'")

from playwright.sync_api import Page, sync_playwright

from experiments.app.picture import ARGUMENTS, SIZE, chromium, served
from experiments.shipped import FOLDER

EARLIER = {"name: crash": "name: short", "at: 72": "at: 4", "at: 76": "at: 8", "steps: 168": "steps: 2000"}
"""What makes the shipped crash strike after four hours instead of three days."""


class Tab:
    """A browser tab on the page, and what it complained about."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.address = page, address
        self.complaints: list[str] = []
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("response", lambda answer: self.complaints.append(f"{answer.status}: {answer.url}") if answer.status >= 400 else None)
        page.on("request", lambda request: self._asked(request.url))
        self.load()

    def _asked(self, url: str) -> None:
        if not url.startswith((self.address, self.address.replace("http", "ws"), "data:", "blob:")):
            self.complaints.append(f"asked elsewhere: {url}")

    def load(self) -> None:
        self.page.goto(self.address)
        self.page.locator(".cards").wait_for(timeout=60_000)
        self.page.locator("canvas").first.wait_for(timeout=60_000)

    @property
    def step(self) -> int:
        return int(self.page.locator(".clock").inner_text().split("step ")[1].split(" ")[0].replace(",", ""))

    @property
    def headline(self) -> str:
        return str(self.page.locator(".words").inner_text())

    def press(self, label: str) -> None:
        self.page.get_by_role("button", name=label, exact=True).click()

    def take(self, steps: int) -> None:
        """Steps, each awaited."""
        for _ in range(steps):
            before = self.step
            self.press("Step")
            self.page.locator(".clock", has_text=f"step {before + 1} ").wait_for()

    def play_to(self, step: int) -> None:
        self.press("▶")
        self.until(f"() => parseInt(document.querySelector('.clock').innerText.split('step ')[1]) >= {step}")
        self.press("❚❚")
        self.page.get_by_role("button", name="▶").wait_for()

    def until(self, script: str) -> None:
        self.page.wait_for_function(script, timeout=90_000)

    def open(self, name: str) -> None:
        self.page.get_by_role("tab", name=name).click()
        self.page.wait_for_timeout(400)


@pytest.fixture(scope="session")
def chrome() -> Iterator[Any]:
    """The browser."""
    where = chromium()
    if where is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=where, args=list(ARGUMENTS))
        yield running
        running.close()


@pytest.fixture(scope="session")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("scenario") / "short.yaml"
    text = (FOLDER / "crash.yaml").read_text(encoding="utf-8")
    for before, after in EARLIER.items():
        assert before in text
        text = text.replace(before, after)
    file.write_text(text, encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def server(chrome: Any, scenario: Path) -> Iterator[str]:
    """Our server on a free port of this machine."""
    with served(str(scenario)) as address:
        yield address


@pytest.fixture
def new_tab(chrome: Any, server: str) -> Iterator[Any]:
    """Opens tabs; none may have complained at the end."""
    contexts, tabs = [], []

    def opened(*, look: str = "light", address: str = server) -> Tab:
        """`look`: light; dark, as chosen on the page; or night, a desktop that is dark."""
        context = chrome.new_context(viewport=SIZE, accept_downloads=True, color_scheme="dark" if look == "night" else "light")
        if look == "dark":
            context.add_init_script("localStorage.setItem(':solara:theme.variant', JSON.stringify('dark'))")
        contexts.append(context)
        tabs.append(Tab(context.new_page(), address))
        return tabs[-1]

    yield opened
    for context in contexts:
        context.close()
    assert [tab.complaints for tab in tabs if tab.complaints] == []


@pytest.fixture
def tab(new_tab: Any) -> Tab:
    opened: Tab = new_tab()
    return opened


@pytest.fixture
def shoot(request: pytest.FixtureRequest) -> Any:
    """Keeps screenshots under results/browser, to be looked at."""
    folder = Path(__file__).parents[2] / "results" / "browser"

    def shot(tab: Tab, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        tab.page.screenshot(path=folder / f"{name}.png")

    return shot
