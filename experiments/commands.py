"""What the commands do. The command line reads this module for its options alone, so that everything heavy is imported inside."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, Token
from cyclopts.validators import Number

type Lines = list[str]


def whole(_kind: object, tokens: Sequence[Token]) -> int:
    """A whole number in decimal digits: half a seed is not rounded to one."""
    text = tokens[0].value
    if not re.fullmatch(r"[+-]?\d+", text):
        raise ValueError(f"{text!r} is not a whole number")
    return int(text)


def run(  # noqa: PLR0913 - one an option
    scenario: str = "baseline",
    /,
    *,
    seed: Annotated[int, Parameter(validator=Number(gte=0), converter=whole)] = 0,
    steps: Annotated[int | None, Parameter(validator=Number(gte=1), converter=whole)] = None,
    prices: Annotated[list[str] | None, Parameter(consume_multiple=True, negative=())] = None,
    out: Path | None = None,
    set_: Annotated[list[str] | None, Parameter(name="--set", negative=())] = None,
    overwrite: Annotated[bool, Parameter(negative=())] = False,
    check_laws: Annotated[bool, Parameter(negative=())] = False,
    disclosure: Annotated[bool, Parameter(negative=())] = False,
    quiet: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Run a scenario and write what came of it into a folder.

    Args:
        scenario: A scenario file, or the name of a shipped scenario.
        seed: Of all draws; same seed, same scenario, same numbers.
        steps: How many; the scenario's own number by default, with --prices one for each row.
        prices: CSV files of recorded prices to replay: NAME=FILE for one market, FILE for the first market or with a column market.
        out: A new folder; results/<scenario>-seed<seed> by default.
        set_: A setting to change, such as venues.0.clearinghouse.fund=5e7; can be given again.
        overwrite: Replace an earlier run in that folder.
        check_laws: Assert the model's laws after every step.
        disclosure: Print the run as public quantitative disclosures too, as a central counterparty would.
        quiet: Print nothing but faults.
    """
    import logging  # noqa: PLC0415

    from rich.console import Console  # noqa: PLC0415

    from experiments import disclosure as disclosures  # noqa: PLC0415
    from experiments import runner, shipped, store  # noqa: PLC0415
    from experiments.progress import reported  # noqa: PLC0415
    from experiments.replay import periods, replayed  # noqa: PLC0415
    from experiments.summary import show  # noqa: PLC0415

    logging.basicConfig(format="%(message)s", level=logging.ERROR if quiet else logging.WARNING)
    world = shipped.load(scenario, [*([replayed(prices)] if prices else []), *(set_ or [])])
    folder = out or store.default_folder(world, seed)
    store.check_target(folder, overwrite=overwrite)
    with reported(Console(stderr=True), world.name, quiet=quiet) as progress:
        length = periods(prices, world) if prices and steps is None else steps
        done = runner.run(world, seed=seed, steps=length, check_laws=check_laws, progress=progress)
    store.write(done, folder, overwrite=overwrite)
    if not quiet:
        console = Console()
        show(done, console)
        if disclosure:
            disclosures.show(done, console)
        console.print(f"look at {folder / 'figures'}; the numbers are in {folder}", highlight=False, markup=False, soft_wrap=True)


def check(file: str, /) -> None:
    """Say what is wrong with a scenario file, a line a fault.

    Args:
        file: A scenario file, or the name of a shipped scenario.
    """
    from experiments import shipped  # noqa: PLC0415
    from model.news import NewsSource  # noqa: PLC0415
    from model.randomness import Streams  # noqa: PLC0415

    world = shipped.load(file)
    NewsSource(world.news, world.assets, Streams(0), world.hours_per_step)  # reads price files, and compares assets with the news
    print(f"{file}: sound")  # noqa: T201


def schema() -> None:
    """Print the JSON Schema of scenario files."""
    import json  # noqa: PLC0415

    from model.scenario_file import scenario_schema  # noqa: PLC0415

    print(json.dumps(scenario_schema(), indent=2, ensure_ascii=False))  # noqa: T201


def show(file: str, /, *, set_: Annotated[list[str] | None, Parameter(name="--set", negative=())] = None) -> None:
    """Print every setting of a scenario, presets expanded, with the source of what each preset says.

    Args:
        file: A scenario file, or the name of a shipped scenario.
        set_: A setting to change, such as venues.0.clearinghouse.preset=bitmex; can be given again.
    """
    from agents.clearinghouse.presets import PRESETS  # noqa: PLC0415
    from experiments import shipped  # noqa: PLC0415
    from model.scenario_file import dump_scenario  # noqa: PLC0415

    world = shipped.load(file, set_ or [])
    for venue in world.venues:
        name = venue.clearinghouse.preset
        if name is not None:
            print(f"# {venue.name}: preset {name}")  # noqa: T201
            for setting, source in PRESETS[name].sources.items():
                print(f"#   {setting}: {source}")  # noqa: T201
            for choice in PRESETS[name].ours:
                print(f"#   our choice: {choice}")  # noqa: T201
    print(dump_scenario(world), end="")  # noqa: T201


def listing() -> None:
    """List the scenarios that come with the project."""
    import textwrap  # noqa: PLC0415

    from experiments import shipped  # noqa: PLC0415

    known = shipped.scenarios()
    width = max(map(len, known), default=0)
    for name, world in known.items():
        print(f"{name:<{width}}  {textwrap.shorten(world.description, 110, placeholder=' …')}".rstrip())  # noqa: T201
