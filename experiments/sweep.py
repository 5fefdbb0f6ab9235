"""Running a study: hand out runs, survive what dies, and judge success by what the store holds.

Runs are done by Dask workers: processes of this machine, or any Dask cluster by the address of its scheduler, or SLURM jobs. No more runs
are handed out than there are workers, so that an interruption waits for what runs and for nothing else. A worker writes its
results itself; Dask only says when to look. What a study's folder lacks at the end is missing, whatever the scheduler thought.

```python
from experiments.sweep import sweep

table = sweep("fund-size-small", workers=2)
print(table.groupby("fund")["residual_loss"].mean())
```

A script that calls this needs the usual `if __name__ == "__main__":`, for its workers are fresh processes.
"""

import itertools
import logging
import signal
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from experiments.plan import Task
from experiments.progress import Tally
from experiments.provenance import now, run_id
from experiments.study import Study, load_study, resolved
from experiments.study_run import run_task, sight
from experiments.study_store import (
    COMPLETE,
    FAILED,
    LOST,
    Record,
    StudyFolder,
    append,
    create,
    current_source,
    folder_name,
    forget,
    sealed,
)
from model.errors import ScenarioError, fault
from model.scenario_file import read_settings

if TYPE_CHECKING:
    from distributed import Client, Future

ARRIVAL: Final = 3600.0
"""Seconds to wait for the first worker of a queue."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Where:
    """Who does the runs.

    Attributes:
        workers: processes on this machine, or SLURM jobs; 0 runs them in this process; None: one for each processor.
        scheduler: address of a Dask scheduler, `tcp://…` or `tls://…`, whose workers see the study's folder under the same path.
        slurm: a YAML file of settings of dask_jobqueue.SLURMCluster.
        shard: (i, n): only every n-th run, counted by its id, the i-th of n from 0.
    """

    workers: int | None = None
    scheduler: str | None = None
    slurm: Path | None = None
    shard: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.scheduler and self.slurm:
            raise ScenarioError([fault("sweep", None, "cluster", "a scheduler and a SLURM profile", "one of them")])
        if self.scheduler and self.workers is not None:
            raise ScenarioError([fault("sweep", None, "workers", self.workers, "none beside a scheduler, which has its own")])

    def takes(self, task: Task) -> bool:
        """Whether a run belongs to the shard."""
        return self.shard is None or int(task.run_id[:8], 16) % self.shard[1] == self.shard[0]

    @property
    def shard_name(self) -> str | None:
        """`0-of-4`."""
        return f"{self.shard[0]}-of-{self.shard[1]}" if self.shard else None

    @property
    def here(self) -> bool:
        """Whether runs are done in this process: if asked for, and for a shard that says nothing else."""
        return self.workers == 0 or (self.workers is None and bool(self.shard) and not self.scheduler and not self.slurm)

    @property
    def engine(self) -> str:
        """What the manifest calls it; no address."""
        if self.here:
            return "one process"
        return "dask scheduler" if self.scheduler else "slurm" if self.slurm else "local cluster"


def sweep(
    study: Study | str | Path,
    folder: str | Path | None = None,
    *,
    where: Where | None = None,
    workers: int | None = None,
    retry: bool = False,
    allow_code_change: bool = False,
    progress: Tally | None = None,
    given: str | None = None,
) -> pd.DataFrame:
    """Run what a study's folder lacks; the summary, a row for each point, arm and replication.

    Args:
        study: a study, a study file, or a shipped study's name.
        folder: a new folder or this study's own, which is then carried on; `results/<name>-<id>` if None.
        where: who does the runs.
        workers: short for `where=Where(workers=…)`.
        retry: failed runs, too.
        allow_code_change: carry on with another version of the model than the plan was made with; the journal says which run had which.
        progress: called with runs done, failed among them, and runs in all.
        given: text of the study file, kept in the folder.

    Raises:
        ScenarioError: a study or a folder that cannot be used; nothing is run.
        NonDeterminism: a run that gave other numbers the second time.
        OSError: results cannot be written.
        KeyboardInterrupt: interrupted; what ran has been finished and kept, and the next call carries on.
    """
    if isinstance(study, str | Path):
        study = load_study(study)
    study = resolved(study)
    home = create(study, Path(folder) if folder else Path("results") / folder_name(study), given)
    where = where or Where(workers=workers)
    return carry_on(home, where, retry=retry, allow_code_change=allow_code_change, progress=progress)


def carry_on(
    home: StudyFolder, where: Where, *, retry: bool = False, allow_code_change: bool = False, progress: Tally | None = None
) -> pd.DataFrame:
    """Run what a folder lacks; see `sweep`."""
    home.check()
    source = current_source(home, allow_change=allow_code_change)
    with home.locked(where.shard_name):
        if where.shard is None:
            home.sweep_up()
        tasks = [task for task in home.outstanding(retry=retry) if where.takes(task)]
        try:
            if tasks:
                planned = "" if allow_code_change else _recognised(home, tasks[0])
                with _session(home, where, source):
                    _run(home, where, tasks, (str(home.path.absolute()), source, planned), progress or (lambda _done, _failed, _runs: None))
        finally:
            forget(home.path)
            summary = home.write_summary()
    return summary


def parsed_shard(text: str) -> tuple[int, int]:
    """`i/n` as two numbers.

    Raises:
        ScenarioError: anything else.
    """
    part, _, parts = text.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and int(part) < int(parts)):
        raise ScenarioError([fault("sweep", None, "shard", repr(text), "i/n with i from 0 to n - 1, such as 0/4")])
    return int(part), int(parts)


def lacking(summary: pd.DataFrame, where: Where) -> pd.DataFrame:
    """Rows that are failed or missing, of the shard if it is one."""
    rows = summary[summary["status"] != COMPLETE]
    mine = [where.takes(Task(run, "", 0, {})) for run in rows["run_id"]]
    return rows[mine]


@contextmanager
def _session(home: StudyFolder, where: Where, source: str) -> Iterator[None]:
    """Notes in the journal who worked on the study, and when."""
    session = {"session": uuid.uuid4().hex, "engine": where.engine, "source": source, "started": now()}
    append(home.path, sealed(session))
    try:
        yield
    finally:
        append(home.path, sealed({**session, "ended": now()}))


@dataclass(slots=True)
class _Course:
    """How a session is going.

    Attributes:
        stopping: hand out nothing more.
        fault: why, if not because somebody asked for it.
    """

    done: int
    failed: int
    runs: int
    progress: Tally
    stopping: threading.Event = field(default_factory=threading.Event)
    fault: BaseException | None = None

    def note(self, status: str) -> None:
        """One more run has ended."""
        self.done += 1
        self.failed += status == FAILED
        self.progress(self.done, self.failed, self.runs)

    def stop(self, fault: BaseException) -> None:
        """Stops for a reason other than a faulty run."""
        self.fault = self.fault or fault
        self.stopping.set()


def _recognised(home: StudyFolder, task: Task) -> str:
    """Digest of the plan's source, if a run is still what it was when it was planned.

    Raises:
        ScenarioError: it is not, for a rule of the user's own has changed.
    """
    if run_id(home.study.world(task.arm, task.point), task.seed, source=home.source) != task.run_id:
        expected = "your own rules as they were when it was planned, another folder, or --allow-code-change"
        raise ScenarioError([fault(home.path, None, "rules", "changed ones", expected)])
    return home.source


def _run(home: StudyFolder, where: Where, tasks: Sequence[Task], work: tuple[str, str, str], progress: Tally) -> None:
    """All tasks, as far as nothing stops them; `work` is what a worker is told of the study: folder, source, the plan's source."""
    todo = {task.run_id for task in tasks}
    mine = [task.run_id for task in home.tasks() if where.takes(task)]
    runs = home.journal().runs
    settled = [runs[run].status for run in mine if run not in todo]
    course = _Course(len(settled), settled.count(FAILED), len(mine), progress)
    progress(course.done, course.failed, course.runs)
    with _interruptible(course.stopping) as asked:
        if where.here:
            _here(tasks, work, course)
        else:
            with _client(where, home, len(tasks), course.stopping) as client:
                _hand_out(client, tasks, work, course)
    if course.fault is not None:
        raise course.fault
    if asked.is_set():
        raise KeyboardInterrupt


def _here(tasks: Iterable[Task], work: tuple[str, str, str], course: _Course) -> None:
    """In this process, one after another."""
    root, source, planned = work
    for task in tasks:
        if course.stopping.is_set():
            return
        course.note(run_task(root, task, source, planned))


def _hand_out(client: "Client", tasks: Iterable[Task], work: tuple[str, str, str], course: _Course) -> None:
    """To the workers, as many at a time as there are; until all is done, somebody stops it or the cluster is gone."""
    from distributed import as_completed  # noqa: PLC0415 - a third of a second, and only this needs it

    root, source, planned = work
    waiting = iter(tasks)
    flying: dict[Any, Task] = {}
    ended = as_completed()

    def hand_out() -> None:
        free = 0 if course.stopping.is_set() else max(1, len(client.nthreads())) - len(flying)
        for task in itertools.islice(waiting, max(0, free)):
            future = client.submit(run_task, root, task, source, planned, key=f"run-{task.run_id}-{uuid.uuid4().hex[:8]}", pure=False)
            flying[future.key] = task
            ended.add(future)

    hand_out()
    for future in ended:
        task = flying.pop(future.key)
        _judge(future, task, Path(root), source, course)
        if client.status != "running":
            return
        hand_out()


def _judge(future: "Future[str]", task: Task, root: Path, source: str, course: _Course) -> None:
    """Notes how a run ended: what a worker could not put on disk, or a cluster that is gone, ends the session."""
    from distributed import KilledWorker  # noqa: PLC0415

    if future.status == "finished":
        course.note(future.result())
        return
    error = future.exception() if future.status == "error" else None
    if isinstance(error, KilledWorker):
        said = f"its worker died {error.allowed_failures + 1} times: killed, or out of memory?"
        append(root, Record(task.run_id, LOST, error=said, source=source, at=now()).line())
        logger.warning("run %s: %s", task.run_id, said)
    elif error is not None:
        course.stop(error)
    else:
        course.stop(ConnectionError("the scheduler is gone"))


# -- clusters ---------------------------------------------------------------------------------------------------------------------------


@contextmanager
def _client(where: Where, home: StudyFolder, tasks: int, stopping: threading.Event) -> Iterator["Client"]:
    """A client of the cluster that is to do the runs, its workers looked at before the first."""
    from distributed import Client  # noqa: PLC0415

    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters is told by us, from the store
    with ExitStack() as stack:
        if where.scheduler:
            client = stack.enter_context(_reached(where.scheduler))
        else:
            cluster = stack.enter_context(_slurm(where.slurm, where.workers) if where.slurm else _local(where.workers, tasks))
            client = stack.enter_context(Client(cluster))
        if not where.slurm and not where.scheduler:
            client.register_worker_callbacks(_deaf)
        _inspect(client, home, stopping)
        yield client


def _local(workers: int | None, tasks: int) -> Any:
    """Worker processes of this machine, one thread each."""
    from dask.system import CPU_COUNT  # noqa: PLC0415
    from distributed import LocalCluster  # noqa: PLC0415

    count = max(1, min(CPU_COUNT if workers is None else workers, tasks))
    return LocalCluster(n_workers=count, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0", host="127.0.0.1")


def _slurm(profile: Path | None, workers: int | None) -> Any:
    """SLURM jobs as a profile describes them."""
    assert profile is not None
    try:
        from dask_jobqueue.slurm import SLURMCluster  # noqa: PLC0415
    except ImportError:
        raise ScenarioError([fault("sweep", None, "slurm", "no dask-jobqueue", "it installed: backstop[slurm]")]) from None
    document = read_settings(profile)
    if document.faults:
        raise ScenarioError(document.faults)
    try:
        cluster = SLURMCluster(**{"cores": 1, "processes": 1, "memory": "2GB", **document.data})
    except (TypeError, ValueError) as error:
        raise ScenarioError([fault(profile, None, "profile", " ".join(str(error).split()), "settings of SLURMCluster")]) from None
    cluster.scale(workers or 1)
    return cluster


def _reached(address: str) -> Any:
    from distributed import Client  # noqa: PLC0415

    try:
        return Client(address, timeout=20)
    except (OSError, ValueError, TypeError) as error:
        found = " ".join(str(error).split())[:120]
        raise ScenarioError(
            [fault("sweep", None, "scheduler", found, "the address of a Dask scheduler, such as tcp://host:8786")]
        ) from None


def _deaf() -> None:
    """Local workers leave Ctrl-C to the sweep, so that what runs can finish."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _await_worker(client: "Client", stopping: threading.Event) -> None:
    """Waits for the first worker, a queue's perhaps for long; an interruption ends the wait."""
    deadline = time.monotonic() + ARRIVAL
    while True:
        if stopping.is_set():
            raise KeyboardInterrupt
        try:
            return client.wait_for_workers(1, timeout=1.0)
        except TimeoutError:
            if time.monotonic() > deadline:
                raise ScenarioError([fault("sweep", None, "workers", "none within an hour", "at least one")]) from None


def _inspect(client: "Client", home: StudyFolder, stopping: threading.Event) -> None:
    """Refuses workers that would give other numbers, or cannot reach the folder.

    Raises:
        ScenarioError: one line for each difference.
    """
    _await_worker(client, stopping)
    threads = max(client.nthreads().values())
    if threads > 1:
        raise ScenarioError([fault("sweep", None, "workers", f"{threads} threads in one", "1 in each: dask worker --nthreads 1")])
    try:
        seen: dict[str, dict[str, Any]] = client.run(sight, str(home.path.absolute()))
    except Exception as error:  # noqa: BLE001 - whatever a worker without our packages fails with
        said = f"workers that cannot import it ({type(error).__name__}: {' '.join(str(error).split())[:120]})"
        raise ScenarioError([fault("sweep", None, "backstop", said, "the same installation as here")]) from None
    here = sight(str(home.path.absolute()))
    wanted = {**here, **{name: "1" for name in here if name.endswith("_THREADS")}}
    found = {(name, value) for answer in seen.values() for name, value in answer.items() if value != wanted.get(name)}
    if found:
        raise ScenarioError([fault("sweep", None, f"workers' {name}", value, str(wanted[name])) for name, value in sorted(found, key=str)])


@contextmanager
def _interruptible(stopping: threading.Event) -> Iterator[threading.Event]:
    """The first Ctrl-C or SIGTERM asks to stop, the second stops at once. Yields what tells whether one came."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def ask(number: int, _frame: Any) -> None:
        asked.set()
        stopping.set()
        signal.signal(number, signal.default_int_handler)
        logger.warning("stopping: what runs is finished; again to stop at once")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
