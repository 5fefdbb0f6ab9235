"""A study's folder: its plan, what has been run of it, and the summary that follows from both.

What is true is in three places that are only ever added to: `plan.parquet`, frozen before the first run; `series/`, a file a run, which is
there whole or not at all; `journal/`, one checksummed line a run, written when everything else of the run is on disk. Everything
else can be rebuilt from them.
"""

import fcntl
import hashlib
import io
import json
import math
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Final

import pandas as pd

from experiments.plan import Plan, Task, make
from experiments.provenance import blake2b, made_by, network_files, now, scenario_files, sha256, source_digest, without_folders
from experiments.store import sync, whole, write_json
from experiments.study import Study, Table, resolve_files
from model.errors import ScenarioError, fault
from model.news import Replay
from model.prices import named_path
from model.scenario import Scenario
from model.scenario_file import read_settings
from model.strict_yaml import write_yaml

COMPLETE: Final = "complete"
FAILED: Final = "failed"
MISSING: Final = "missing"
LOST: Final = "lost"
"""In the journal: its worker died again and again; in the summary it is missing, and a resumed sweep tries it again."""
INPUTS: Final = "inputs"
LOCK_ATTEMPTS: Final = 5


class NonDeterminism(Exception):
    """Two records of one run that do not agree: the model, or the machine, gives other numbers for the same run."""


@dataclass(frozen=True, slots=True)
class Record:
    """What the journal says of a run.

    Attributes:
        run_id, status: which run, and how it ended: complete, failed or lost.
        outputs: by name; NaN where an output is not a number.
        error: one line; empty if complete.
        series: digest of the run's series file; empty if none is kept.
        source: digest of the model's source that made it.
        seconds: wall time.
        at: when it ended, UTC.
    """

    run_id: str
    status: str
    outputs: Mapping[str, float] = field(default_factory=dict)
    error: str = ""
    series: str = ""
    source: str = ""
    seconds: float = 0.0
    at: str = ""

    def line(self) -> bytes:
        """The record as a line of the journal: a checksum, then JSON."""
        outputs = {name: value if math.isfinite(value) else None for name, value in self.outputs.items()}
        return sealed({name: getattr(self, name) for name in self.__slots__} | {"outputs": outputs})

    @classmethod
    def of(cls, data: dict[str, Any]) -> "Record":
        """What a journal line's JSON says."""
        outputs = {name: math.nan if value is None else value for name, value in data["outputs"].items()}
        return cls(**{**data, "outputs": outputs})

    def agrees(self, other: "Record") -> bool:
        """Whether both say the same of the numbers."""
        return self.series == other.series and repr(sorted(self.outputs.items())) == repr(sorted(other.outputs.items()))


def sealed(data: dict[str, Any]) -> bytes:
    """A line: 16 hexadecimal digits of BLAKE2b, then JSON."""
    text = json.dumps(data, sort_keys=True, ensure_ascii=False, allow_nan=False).encode()
    return hashlib.blake2b(text, digest_size=8).hexdigest().encode() + b" " + text + b"\n"


def opened(line: bytes) -> dict[str, Any] | None:
    """What a line says; None if it is not as it was written."""
    digest, _, text = line.partition(b" ")
    if not line or hashlib.blake2b(text, digest_size=8).hexdigest().encode() != digest:
        return None
    data: dict[str, Any] = json.loads(text)
    return data


@dataclass(frozen=True, slots=True)
class Journal:
    """What all journal files say.

    Attributes:
        runs: the record that stands for each run.
        sessions: who worked on the study, in order of time.
        damaged: lines that are not as they were written, and are left out.
    """

    runs: dict[str, Record]
    sessions: list[dict[str, Any]]
    damaged: int


class StudyFolder:
    """A study's folder that `create` has made.

    Raises:
        ScenarioError: any other folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not (self.path / "plan.parquet").is_file():
            raise ScenarioError([fault(self.path, None, "study", "no plan.parquet", "a folder that `backstop sweep` has written")])

    @cached_property
    def study(self) -> Study:
        """The study with everything resolved."""
        data = read_settings(self.path / "resolved.yaml").data
        resolve_files(data, self.path)
        return Study.model_validate(data)

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What the study was planned with."""
        content: dict[str, Any] = json.loads((self.path / "manifest.json").read_text(encoding="utf-8"))
        return content

    def check(self) -> None:
        """Refuses a folder in which what was frozen before the first run is no longer what it was.

        Raises:
            ScenarioError: a line for each changed file.
        """
        frozen: dict[str, str] = self.manifest.get("files", {})
        changed = [name for name, digest in frozen.items() if not (self.path / name).is_file() or sha256(self.path / name) != digest]
        if changed:
            raise ScenarioError(
                [fault(self.path / name, None, "file", "a changed one", "it as planned, or a new folder") for name in changed]
            )

    @property
    def source(self) -> str:
        """Digest of the model's source that the plan was made with."""
        return str(self.manifest["source"]["blake2b"])

    def plan(self) -> pd.DataFrame:
        """A row for every point, arm and replication; see `experiments.plan.Plan`."""
        return pd.read_parquet(self.path / "plan.parquet", engine="pyarrow")

    def tasks(self) -> list[Task]:
        """Every run of the plan once."""
        return Plan(self.plan()).tasks()

    def journal(self) -> Journal:
        """All that the journal says.

        Raises:
            NonDeterminism: two records of a run that do not agree.
        """
        return _read_journal(self.path / "journal")

    def summary(self) -> pd.DataFrame:
        """The plan's rows with `status`, `error` and a column an output; derived from plan and journal whenever it is asked for.

        Raises:
            NonDeterminism: see `journal`.
        """
        return _summary(self.plan(), self.journal().runs, [output.name for output in self.study.outputs])

    def failed(self) -> pd.DataFrame:
        """The summary's rows that are failed or missing."""
        summary = self.summary()
        return summary[summary["status"] != COMPLETE]

    def series(self, run_id: str) -> pd.DataFrame:
        """What was kept of a run's series: one row a step, or `every` steps.

        Raises:
            ScenarioError: no series was kept of it.
        """
        path = series_file(self.path, run_id)
        if not path.is_file():
            raise ScenarioError([fault(self.path, None, "series", f"none of run {run_id}", "a complete run of a study that keeps series")])
        return pd.read_parquet(path, engine="pyarrow")

    def outstanding(self, *, retry: bool = False) -> list[Task]:
        """Runs that the store does not hold whole: never run, lost, or with a series file missing or damaged; failed ones to `retry`."""
        runs = self.journal().runs
        settled = {COMPLETE} if retry else {COMPLETE, FAILED}
        return [
            task for task in self.tasks() if not ((record := runs.get(task.run_id)) and record.status in settled and self._held(record))
        ]

    def _held(self, record: Record) -> bool:
        if not record.series:
            return True
        try:
            return blake2b(series_file(self.path, record.run_id).read_bytes()) == record.series
        except OSError:
            return False

    def write_summary(self) -> pd.DataFrame:
        """Writes `summary.parquet`, `summary.csv`, the manifest's sessions and the RO-Crate description; the summary.

        Raises:
            NonDeterminism: see `journal`.
        """
        journal = self.journal()
        summary = _summary(self.plan(), journal.runs, [output.name for output in self.study.outputs])
        replace_file(self.path / "summary.parquet", as_parquet(summary))
        replace_file(self.path / "summary.csv", summary.to_csv(index=False, lineterminator="\n").encode())
        manifest = {**self.manifest, "sessions": journal.sessions}
        replace_file(self.path / "manifest.json", (json.dumps(manifest, indent=2, ensure_ascii=False) + "\n").encode())
        self.describe()
        return summary

    def describe(self) -> None:
        """Writes the RO-Crate description of what the folder holds now."""
        from experiments.crate import described  # noqa: PLC0415 - it describes what this module writes

        replace_file(self.path / "ro-crate-metadata.json", (json.dumps(described(self), indent=2, ensure_ascii=False) + "\n").encode())

    def sweep_up(self) -> None:
        """Removes what interrupted writes have left; only for who works alone on the folder."""
        for path in self.path.rglob("*.partial"):
            path.unlink(missing_ok=True)

    @contextmanager
    def locked(self, shard: str | None = None) -> Iterator[None]:
        """Keeps others from working on the same runs: one sweep, or each shard once.

        Raises:
            ScenarioError: somebody does.
        """
        with (self.path / "LOCK").open("ab") as whole_study, (self.path / f"LOCK-{shard or 'all'}").open("ab") as part:
            for attempt in range(LOCK_ATTEMPTS):
                try:
                    fcntl.flock(whole_study, (fcntl.LOCK_SH if shard else fcntl.LOCK_EX) | fcntl.LOCK_NB)
                    fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if attempt == LOCK_ATTEMPTS - 1:
                        raise ScenarioError([fault(self.path, None, "lock", "another sweep at work on it", "one at a time")]) from None
                    time.sleep(0.1)  # somebody may only be asking for the state
            yield

    def at_work(self) -> bool:
        """Whether a sweep is working on it now; writes nothing, for the folder may be another's."""
        try:
            with (self.path / "LOCK").open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False


# -- create -----------------------------------------------------------------------------------------------------------------------------


def folder_name(study: Study) -> str:
    """`<name>-<id8>`: the same study has the same name, whatever version of the model runs it."""
    files = [sha256(path) for path in _inputs(study)]
    content = json.dumps([_portable(study), files], sort_keys=True, ensure_ascii=False)
    return f"{study.name}-{blake2b(content.encode())[:8]}"


def create(study: Study, path: Path, given: str | None = None) -> StudyFolder:
    """Plan a study and freeze the plan in a folder; if the same study's folder is there already, that one.

    Args:
        study: the study.
        path: the folder.
        given: text of the study file, kept as it is.

    Raises:
        ScenarioError: scenarios that contradict themselves; a folder that holds something else.
    """
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        plan = make(study)
        try:
            with whole(path, replace=False) as partial:
                _fill(partial, study, plan, given)
        except OSError:
            if not (path / "plan.parquet").is_file():  # if it is there, another shard was quicker
                raise
    if not (path / "manifest.json").is_file():
        raise ScenarioError([fault(path, None, "out", "other files", "a new or an empty folder, or this study's own")])
    folder = StudyFolder(path)
    if folder.manifest.get("study") != folder_name(study):
        raise ScenarioError([fault(path, None, "out", f"study {folder.manifest.get('study')}", f"{folder_name(study)}, or a new folder")])
    return folder


def _fill(partial: Path, study: Study, plan: Plan, given: str | None) -> None:
    for number, path in enumerate(_inputs(study)):
        copy = partial / INPUTS / str(number) / path.name
        copy.parent.mkdir(parents=True)
        shutil.copyfile(path, copy)
    resolved = write_yaml(_portable(study))
    (partial / "resolved.yaml").write_text(resolved, encoding="utf-8")
    (partial / "study.yaml").write_text(given or resolved, encoding="utf-8")
    plan.table.to_parquet(partial / "plan.parquet", engine="pyarrow", compression="zstd", index=False)
    (partial / "journal").mkdir()
    frozen = {path.relative_to(partial).as_posix(): sha256(path) for path in sorted(partial.rglob("*")) if path.is_file()}
    runs = plan.table["run_id"].nunique()
    made = {"study": folder_name(study), "created": now(), "runs": runs, **made_by(study.scenario), "files": frozen}
    write_json(partial / "manifest.json", made)


def _inputs(study: Study) -> list[Path]:
    """Files that the study reads: recorded prices, a network, a table of points."""
    table = [Path(study.design.file)] if isinstance(study.design, Table) else []
    return [*(scenario_files(study.base) if isinstance(study.base, Scenario) else []), *table]


def _portable(study: Study) -> dict[str, Any]:
    """The study as plain data, its files named as they lie in its folder."""
    data = study.model_dump(mode="json", by_alias=True)
    count = len(_inputs(study))
    if isinstance(study.design, Table):
        data["design"]["file"] = f"{INPUTS}/{count - 1}/{Path(study.design.file).name}"
    if isinstance(study.base, Scenario):
        data["base"] = without_folders(study.base).model_dump(mode="json", by_alias=True)
        if isinstance(study.base.news, Replay.Parameters):
            data["base"]["news"]["files"] = _kept(data["base"]["news"]["files"])
        for path in network_files(study.base):
            data["base"]["network"]["file"] = f"{INPUTS}/{scenario_files(study.base).index(path)}/{path.name}"
    return data


def _kept(files: Any) -> Any:
    """Names of price files as they lie in the study's folder."""
    if isinstance(files, dict):
        return {market: f"{INPUTS}/{at}/{name}" for at, (market, name) in enumerate(files.items())}
    parts = [named_path(entry) for entry in files]
    return [f"{INPUTS}/{at}/{name}" if market is None else f"{market}={INPUTS}/{at}/{name}" for at, (market, name) in enumerate(parts)]


# -- write ------------------------------------------------------------------------------------------------------------------------------

_open: dict[tuple[int, str], IO[bytes]] = {}
"""This process's journal file for each folder. A forked process opens its own."""


def append(root: Path, line: bytes) -> None:
    """Adds a line to this process's own journal file and has it put on disk.

    Raises:
        OSError: it could not be written; the file is then left, so that what follows does not stand on half a line.
    """
    key = (os.getpid(), str(root.absolute()))
    file = _open.get(key)
    if file is None or os.fstat(file.fileno()).st_nlink == 0:  # a folder of that name may have been removed and made again
        file = _open[key] = (root / "journal" / f"{os.getpid()}-{uuid.uuid4().hex}.jsonl").open("xb", buffering=0)
        sync(root / "journal")
    try:
        file.write(line)
        os.fsync(file.fileno())
    except OSError:
        _open.pop(key).close()
        raise


def forget(root: Path) -> None:
    """Closes this process's journal file for a folder."""
    file = _open.pop((os.getpid(), str(root.absolute())), None)
    if file is not None:
        file.close()


def replace_file(path: Path, content: bytes) -> None:
    """Puts a file where it belongs only when all of it is on disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}-{uuid.uuid4().hex}.partial")
    try:
        with partial.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    sync(path.parent)


def as_parquet(table: pd.DataFrame) -> bytes:
    """A table as the bytes of a Parquet file; equal tables give equal bytes."""
    buffer = io.BytesIO()
    table.to_parquet(buffer, engine="pyarrow", compression="zstd", index=False)
    return buffer.getvalue()


def series_file(root: Path, run_id: str) -> Path:
    """Where a run's series lies."""
    return root / "series" / run_id[:2] / f"{run_id}.parquet"


def write_series(root: Path, run_id: str, series: pd.DataFrame) -> str:
    """Writes a run's series; its digest."""
    content = as_parquet(series)
    replace_file(series_file(root, run_id), content)
    return blake2b(content)


# -- read -------------------------------------------------------------------------------------------------------------------------------


def _read_journal(folder: Path) -> Journal:
    runs: dict[str, Record] = {}
    sessions: dict[str, dict[str, Any]] = {}
    damaged = 0
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_bytes().split(b"\n"):
            data = opened(line)
            if data is None:
                damaged += bool(line)
            elif "session" in data:
                sessions[data["session"]] = {**sessions.get(data["session"], {}), **data}
            else:
                record = Record.of(data)
                runs[record.run_id] = _standing(runs.get(record.run_id), record)
    ordered = sorted(sessions.values(), key=lambda session: (session.get("started", ""), session["session"]))
    return Journal(runs, ordered, damaged)


def _standing(one: Record | None, other: Record) -> Record:
    """Which of two records of a run stands: a complete one; of others the later.

    Raises:
        NonDeterminism: two complete ones that differ.
    """
    if one is None:
        return other
    if one.status == other.status == COMPLETE and not one.agrees(other):
        raise NonDeterminism(f"run {one.run_id} gave other numbers the second time: {_difference(one, other)}")
    return max(one, other, key=lambda record: (record.status == COMPLETE, record.status == FAILED, record.at, record.error))


def _difference(one: Record, other: Record) -> str:
    if one.source != other.source:
        return f"model source {one.source[:8]} and {other.source[:8]}"
    names = [name for name in one.outputs if repr(one.outputs[name]) != repr(other.outputs.get(name))]
    return ", ".join(f"{name} {one.outputs[name]!r} and {other.outputs.get(name)!r}" for name in names[:3]) or "its series"


def _summary(plan: pd.DataFrame, runs: Mapping[str, Record], outputs: list[str]) -> pd.DataFrame:
    nothing = Record("", MISSING)
    records = [runs.get(run, nothing) for run in plan["run_id"]]
    status = [MISSING if record.status == LOST else record.status for record in records]
    columns = {name: [record.outputs.get(name, math.nan) for record in records] for name in outputs}
    return plan.assign(status=status, error=[record.error for record in records], **columns).astype(dict.fromkeys(outputs, "float64"))


def current_source(folder: StudyFolder, *, allow_change: bool) -> str:
    """Digest of the model's source as it is now.

    Raises:
        ScenarioError: it is not the plan's, and a change is not allowed.
    """
    source = source_digest()
    if source != folder.source and not allow_change:
        expected = f"{folder.source[:8]} as when it was planned, another folder, or --allow-code-change"
        raise ScenarioError([fault(folder.path, None, "model source", source[:8], expected)])
    return source
