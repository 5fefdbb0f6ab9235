"""The one writer of results: a run as a folder, which is there whole or not at all.

A folder holds `series`, `events`, `statement`, `balance_sheets`, `edges` and `closing` as Parquet, the network once more as `edges.csv` and
`network.graphml` for Gephi and the like, `scenario.yaml` with every setting resolved, `summary.json`, `figures/`, and `manifest.json`,
which says what made it. No file names a person, a machine or a folder of theirs.
"""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import networkx as nx
import pandas as pd

from experiments.closing import as_table
from experiments.provenance import manifest, without_folders
from experiments.summary import summary
from model.errors import ScenarioError, fault
from model.scenario import Scenario
from model.scenario_file import dump_scenario, load_scenario

TABLES: Final = ("series", "events", "statement", "balance_sheets", "edges", "closing")


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run.

    Attributes:
        scenario: as it was run, every setting resolved.
        seed: of all its draws.
        series: one row a step, the opening (step 0) first; `model.observables` declares the columns.
        events: one row a liquidation, takeover, deleveraging, draw or default; `model.events` declares the columns.
        statement: the fund's flows: `step`, `hours`, `pool`, `flow`, `amount` (USD into the fund); of several exchanges also `venue`.
        balance_sheets: one row an institution at the end, USD.
        edges: who owes whom at the end: `source` owes `target` the `amount`, USD.
        seconds: wall time of building the world and of its steps.
        closing: the first exchange's books at the end: `figure`, `asset` and `amount`, see `experiments.closing`; empty if they were not
            looked at.
    """

    scenario: Scenario
    seed: int
    series: pd.DataFrame
    events: pd.DataFrame
    statement: pd.DataFrame
    balance_sheets: pd.DataFrame
    edges: pd.DataFrame
    seconds: float
    closing: pd.DataFrame = field(default_factory=as_table)

    @property
    def steps(self) -> int:
        """Steps run."""
        return len(self.series) - 1

    @property
    def own_statement(self) -> pd.DataFrame:
        """The statement of the first exchange's fund, as outputs of plain names are."""
        if "venue" not in self.statement:
            return self.statement
        return self.statement[self.statement["venue"] == self.scenario.venues[0].name]


def default_folder(scenario: Scenario, seed: int) -> Path:
    """`results/<name>-seed<seed>` in the working folder."""
    return Path("results") / f"{re.sub(r'[^\w-]+', '-', scenario.name).strip('-') or 'run'}-seed{seed}"


def check_target(folder: Path, *, overwrite: bool = False) -> None:
    """Refuses a folder that `write` could not write to, or that holds anything but a run that may be replaced.

    Raises:
        ScenarioError: one line.
    """
    parent = next(place for place in (*folder.absolute().parents, folder.absolute()) if place.exists())
    try:
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.partial-", dir=parent):
            pass
    except OSError as error:
        raise ScenarioError([fault(folder, None, "out", error.strerror or "no folder", "a place that can be written to")]) from None
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ScenarioError([fault(folder, None, "out", "a file", "a folder")])
    if any(folder.iterdir()):
        ours = (folder / "manifest.json").is_file()
        if not (ours and overwrite):
            expected = "another folder, or --overwrite to replace it" if ours else "a new or an empty folder"
            raise ScenarioError([fault(folder, None, "out", "an earlier run" if ours else "other files", expected)])


def write(run: Run, folder: Path, *, overwrite: bool = False, figures: bool = True) -> Path:
    """Write a run; an earlier run is replaced only when the new one is complete.

    Raises:
        ScenarioError: see `check_target`.
        OSError: the disk is full, say; nothing is left behind.
    """
    check_target(folder, overwrite=overwrite)
    with whole(folder) as partial:
        for name in TABLES:
            table: pd.DataFrame = getattr(run, name)
            table.to_parquet(partial / f"{name}.parquet", engine="pyarrow", compression="zstd", index=False)
        run.edges.to_csv(partial / "edges.csv", index=False)
        nx.write_graphml(graph(run), partial / "network.graphml")
        (partial / "scenario.yaml").write_text(dump_scenario(without_folders(run.scenario)), encoding="utf-8")
        write_json(partial / "summary.json", summary(run))
        write_json(partial / "manifest.json", manifest(run.scenario, run.seed, run.seconds))
        if figures:
            from experiments.figures import draw  # noqa: PLC0415 - matplotlib takes a second, and only this needs it

            draw(run, partial / "figures")
    return folder


def read(folder: Path) -> Run:
    """A run as it was written. Price files of a replay are named without their folders; what an earlier version did not keep is empty.

    Raises:
        ScenarioError: not a folder that `write` has written.
    """
    if not (folder / "manifest.json").is_file():
        raise ScenarioError([fault(folder, None, "run", "no manifest.json", "a folder that `backstop run` has written")])
    written = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    tables: dict[str, Any] = {
        name: pd.read_parquet(folder / f"{name}.parquet", engine="pyarrow")
        for name in TABLES
        if name != "closing" or (folder / "closing.parquet").exists()
    }
    scenario = without_folders(load_scenario(folder / "scenario.yaml"))
    return Run(scenario=scenario, seed=written["seed"], seconds=written["seconds"], **tables)


def graph(run: Run) -> "nx.DiGraph[str]":
    """The run's network at its end: an edge from debtor to creditor with its `amount`; nodes carry what their balance sheets say."""
    network: nx.DiGraph[str] = nx.DiGraph()
    for sheet in run.balance_sheets.to_dict("records"):
        network.add_node(str(sheet["node"]), **{str(key): value for key, value in sheet.items() if key != "node"})
    for edge in run.edges.to_dict("records"):
        network.add_edge(str(edge["source"]), str(edge["target"]), amount=float(edge["amount"]))
    return network


@contextmanager
def whole(folder: Path, *, replace: bool = True) -> Iterator[Path]:
    """A folder to fill, beside `folder`; it takes that name when everything in it is on disk, and goes if anything fails.

    Raises:
        OSError: ENOTEMPTY or EEXIST, if not to `replace` a folder that somebody else has made meanwhile.
    """
    folder = folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.partial-", dir=folder.parent))
    try:
        partial.chmod(0o777 & ~_umask())
        yield partial
        for path in (*partial.rglob("*"), partial):
            sync(path)
        if replace:
            _replace(partial, folder)
        else:
            partial.rename(folder)
        sync(folder.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _replace(partial: Path, folder: Path) -> None:
    """Renames; what stood there is put back if that fails."""
    earlier = partial.with_name(f"{partial.name}-earlier")
    if folder.exists():
        folder.rename(earlier)
    try:
        partial.rename(folder)
    except BaseException:
        if earlier.exists():
            earlier.rename(folder)
        raise
    shutil.rmtree(earlier, ignore_errors=True)


def sync(path: Path) -> None:
    """Asks the system to put a file or a folder's list of names on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Plain data as JSON; a number that is not finite is refused."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
