"""`backstop app`: serves the browser UI on this machine, and nowhere else unless asked to."""

import importlib.util
import os
import warnings
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter
from cyclopts.validators import Number

LOOPBACK: Final = "127.0.0.1"
MISSING: Final = "app: packages: found none of the browser UI's, expected them installed by: pip install 'backstop[app]'"


def main(
    scenario: str = "crash",
    /,
    *,
    seed: Annotated[int, Parameter(validator=Number(gte=0))] = 0,
    host: str = LOOPBACK,
    port: Annotated[int, Parameter(validator=Number(gte=0, lte=65535))] = 8765,
    browser: Annotated[bool, Parameter(negative=())] = False,
    picture: Path | None = None,
) -> None:
    """Open the browser UI: watch how the fund fills, what empties it, and who pays then.

    Args:
        scenario: What to open first: a shipped scenario, or a scenario file.
        seed: To open it with.
        host: Address to listen on; anything but 127.0.0.1 lets others in, who can then run the model on this machine.
        port: To listen on; 0 takes any that is free.
        browser: Open it in a browser.
        picture: Write pictures of the scenario's run into this folder instead, by a headless Chromium that is installed.
    """
    from experiments import shipped  # noqa: PLC0415
    from model.errors import ScenarioError  # noqa: PLC0415

    if importlib.util.find_spec("solara") is None:
        raise ScenarioError([MISSING])
    shipped.load(scenario)  # a fault is told here and not in the browser
    os.environ["BACKSTOP_APP_SCENARIO"], os.environ["BACKSTOP_APP_SEED"] = scenario, str(seed)
    if picture is not None:
        from experiments.app.picture import take  # noqa: PLC0415

        take(picture, scenario, seed)
        return
    serve(host, port, browser=browser)


def serve(host: str, port: int, *, browser: bool) -> None:
    """Runs the server until it is interrupted."""
    os.environ.setdefault("SOLARA_TELEMETRY_MIXPANEL_ENABLE", "False")  # nothing is told to anybody
    os.environ.setdefault("SOLARA_THEME_SHOW_BANNER", "False")
    os.environ.setdefault("SOLARA_KERNEL_CULL_TIMEOUT", "10m")  # a page that has gone without a word is forgotten
    warnings.filterwarnings("ignore", message="Cookies with samesite=none")  # its cookie is for this address alone
    from solara.__main__ import run  # noqa: PLC0415 - settings are read when it is imported

    words = ["experiments.app.page", "--host", host, "--port", str(port), "--production", "--no-check-version", "--no-access-log"]
    run([*words, "--open" if browser else "--no-open"], standalone_mode=False)
