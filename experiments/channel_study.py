"""Which channel did it: a scenario run with every set of its channels of contagion open, and what came of it divided over them.

The runs are a study: a factor a channel, open or closed, every combination of them, and the same seeds at each. It is swept like any other
and carries on like any other; its folder then holds `analysis/attribution.csv` and the tables behind it.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from experiments import shipped
from experiments.analysis.blocks import require_complete
from experiments.attribution import Attribution, Coalition, attribute
from experiments.study import Factor, Factorial, Output, Study, resolved
from experiments.summary import usd
from model.channels import CHANNELS
from model.errors import ScenarioError, fault
from model.observables import named
from model.scenario import Scenario
from model.scenario_faults import did_you_mean
from model.sharing import ALL

OPEN: Final = "open"
CLOSED: Final = "closed"
OUTPUTS: Final = (
    Output(name="loss", of="passed_on", over="sum"),
    Output(name="residual_loss", of="residual_loss", over="sum"),
    Output(name="bankruptcies", of="bankruptcies", over="sum"),
    Output(name="defaults", of="defaults", over="sum"),
)
"""What is divided: what others than those who failed lost (`passed_on` in `model.observables`), what of it the fund did not bear, and the
accounts and institutions that failed; of several exchanges all together."""


def chosen(text: str | None) -> tuple[str, ...]:
    """Channels by name, in their own order, from a list with commas; all of them if None.

    Raises:
        ScenarioError: names that no channel has, or one twice, a line each.
    """
    names = list(CHANNELS) if text is None else [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in CHANNELS]
    faults = [fault("attribute", None, "channels", name or "nothing", f"a channel{did_you_mean(name, list(CHANNELS))}") for name in unknown]
    faults += [fault("attribute", None, "channels", f"{name} twice", "each once") for name in CHANNELS if names.count(name) > 1]
    if faults:
        raise ScenarioError(faults)
    return tuple(name for name in CHANNELS if name in names)


def asked(scenario: str, settings: list[str], channels: str | None, seeds: int, seed: int) -> Study:
    """The study of a scenario as the command line names it.

    Raises:
        ScenarioError: every fault of the scenario, its settings and the channels.
    """
    faults: list[str] = []
    names: tuple[str, ...] = ()
    world: Scenario | None = None
    try:
        world = shipped.load(scenario, settings)
    except ScenarioError as error:
        faults += error.faults
    try:
        names = chosen(channels)
    except ScenarioError as error:
        faults += error.faults
    if world is None or faults:
        raise ScenarioError(faults)
    return study_of(world, names, seeds, seed)


def study_of(scenario: Scenario, channels: Sequence[str], seeds: int, seed: int = 0) -> Study:
    """The study whose runs divide what came of a scenario over `channels`; its other channels are as it says."""
    name = re.sub(r"[^a-z0-9]+", "-", scenario.name.lower()).strip("-")
    return resolved(
        Study(
            name=f"attribute-{name or 'scenario'}",
            question=f"Through which channel does contagion spread in {scenario.name}?",
            base=scenario,
            factors=tuple(
                Factor(name=channel, path=f"channels.{channel}", scale="choice", values=(False, True), labels=(CLOSED, OPEN))
                for channel in channels
            ),
            design=Factorial(type="factorial"),
            replications=seeds,
            seed=seed,
            outputs=OUTPUTS if len(scenario.venues) == 1 else tuple(o.model_copy(update={"of": named(o.of, ALL)}) for o in OUTPUTS),
        )
    )


def divided(study: Study, summary: pd.DataFrame) -> Attribution:
    """Shapley shares of the study's outputs, from its summary.

    Raises:
        Incomplete: a run failed or is missing.
    """
    channels = [factor.name for factor in study.factors]
    for output in study.outputs:
        require_complete(summary, output.name, "attribution")

    def outcome(coalition: Coalition) -> dict[str, np.ndarray]:
        mine = np.logical_and.reduce([summary[name] == (OPEN if name in coalition else CLOSED) for name in channels])
        rows = summary[mine].sort_values("replication")
        return {output.name: rows[output.name].to_numpy(dtype=np.float64) for output in study.outputs}

    return attribute(channels, outcome, rng=np.random.default_rng(study.seed))


def tables(study: Study, summary: pd.DataFrame, found: Attribution) -> dict[str, pd.DataFrame]:
    """What is written of an attribution, by file: shares, totals, shares seed by seed, and means by set of open channels."""
    channels = [factor.name for factor in study.factors]
    units = {output.name: output.unit for output in study.outputs}
    by_seed = [
        pd.DataFrame({"output": output, "channel": channel, "replication": np.arange(len(values)), "share": values[:, at]})
        for output, values in found.by_seed.items()
        for at, channel in enumerate(channels)
    ]
    names = [output.name for output in study.outputs]
    return {
        "attribution": found.shares.assign(unit=found.shares["output"].map(units)),
        "attribution_totals": found.totals.assign(unit=found.totals["output"].map(units)),
        "attribution_by_seed": pd.concat(by_seed, ignore_index=True),
        "attribution_sets": summary.groupby(channels, sort=False)[names].mean().reset_index(),
    }


def write(study: Study, summary: pd.DataFrame, found: Attribution, folder: Path) -> list[Path]:
    """Writes the tables into the study's folder, under `analysis`; returns the files."""
    home = folder / "analysis"
    home.mkdir(exist_ok=True)
    written = []
    for name, table in tables(study, summary, found).items():
        written.append(home / f"{name}.csv")
        table.to_csv(written[-1], index=False, lineterminator="\n")
    return written


def told(study: Study, found: Attribution) -> list[str]:
    """An attribution in lines: an output each, then its channels, the largest share first."""
    lines = []
    for output in study.outputs:
        said = usd if output.unit == "USD" else "{:.3g}".format
        totals = found.totals[found.totals["output"] == output.name]
        closed, opened = (said(totals[name].item()) for name in ("baseline", "total"))
        lines.append(f"{output.name} ({output.unit}): {opened} with these channels open, {closed} with all of them closed")
        mine = found.shares[found.shares["output"] == output.name].set_index("channel")[["mean", "low", "high", "part"]]
        for channel, row in mine.sort_values("mean", ascending=False, kind="stable").T.items():
            mean, low, high, part = row.to_numpy(dtype=float).tolist()
            shown = "" if np.isnan(part) else f"{part:.0%}"
            interval = "" if np.isnan(low) else f"[{said(low)}, {said(high)}]"
            lines.append(f"  {str(channel).replace('_', ' '):<20} {said(mean):>9} {shown:>5}  {interval}".rstrip())
    return lines
