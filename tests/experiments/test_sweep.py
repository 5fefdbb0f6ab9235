"""Sweeps: the same table whoever runs it, nothing lost and nothing twice whatever is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from experiments import cli
from experiments.plan import make
from experiments.study import load_study
from experiments.study_store import NonDeterminism, Record, StudyFolder, append, forget, opened
from experiments.sweep import Where, carry_on, lacking, parsed_shard, sweep
from model.errors import ScenarioError

ROOT = Path(__file__).parents[2]
PROGRAM = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from experiments.cli import main; main()"
COMMAND = [sys.executable, "-c", PROGRAM]
THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
SCENARIO = "schema: 1\nname: small\nsteps: {steps}\ntraders: {{groups: [{{name: few, count: 20, equity: 2e7}}]}}\n"
STUDY = """\
name: small-study
base: small.yaml
factors:
  - {name: fund, path: venues.0.clearinghouse.fund, scale: log, low: 1.0e+4, high: 1.0e+8}
design: {type: factorial, levels: 2}
arms: {as_is: {}, kind: {recovery: 0.5}}
replications: 2
burn_in: 1
outputs:
  - {name: volume, of: volume, over: sum}
  - {name: fund_end, of: fund, over: last}
series: {every: 2}
"""
SUMMARY = ("summary.csv", "summary.parquet")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a study of 8 short runs in it."""
    (tmp_path / "small.yaml").write_text(SCENARIO.format(steps=3))
    (tmp_path / "study.yaml").write_text(STUDY)
    monkeypatch.chdir(tmp_path)
    for name, value in THREADS.items():
        monkeypatch.setenv(name, value)
    return tmp_path


@pytest.fixture
def backstop(here: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command to its end in this process: exit code, output, errors."""

    def run(*words: str) -> tuple[int, str, str]:
        code = cli._code(list(words))
        out, err = capsys.readouterr()
        return code, out, err

    return run


def records(folder: Path) -> list[dict[str, Any]]:
    """Every sound line of the journal that is about a run."""
    lines = [opened(line) for path in sorted((folder / "journal").glob("*.jsonl")) for line in path.read_bytes().split(b"\n")]
    return [line for line in lines if line is not None and "run_id" in line]


def tables(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in SUMMARY]


def start(*words: str, cwd: Path) -> subprocess.Popen[str]:
    """A command as a process of its own, in a process group of its own."""
    environment = {**os.environ, "PYTHONPATH": f"{cwd}:{ROOT}", **THREADS}
    return subprocess.Popen(
        [*COMMAND, *words], cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def wait_for(what: Callable[[], Any], seconds: float = 120.0) -> Any:
    """What `what` gives once it gives something."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def busy(pid: int) -> list[psutil.Process]:
    """The worker processes of a driver: those that it has spawned and that have loaded the model."""
    try:
        children = psutil.Process(pid).children(recursive=True)
        return [child for child in children if "spawn_main" in " ".join(child.cmdline())]
    except psutil.NoSuchProcess:
        return []


# -- the same numbers -------------------------------------------------------------------------------------------------------------------


def test_a_sweep_gives_a_row_for_each_run_and_carries_on_where_it_was(here: Path) -> None:
    told: list[tuple[int, int, int]] = []
    table = sweep("study.yaml", "out", workers=0, progress=lambda *tally: told.append(tally))
    assert len(table) == 8
    assert set(table["status"]) == {"complete"}
    assert told == [(done, 0, 8) for done in range(9)]
    # Volume does not depend on recovery, which matters to defaults alone; it does on the draws.
    assert table.groupby(["point", "replication"])["volume"].nunique().eq(1).all()
    assert table["volume"].nunique() > 1
    assert sweep("study.yaml", "out", workers=0).equals(table)
    assert len(records(here / "out")) == 8
    home = StudyFolder(here / "out")
    assert home.series(table["run_id"][0])["step"].tolist() == [0, 2, 3]
    assert [session["engine"] for session in home.manifest["sessions"]] == ["one process"]


def test_workers_killed_or_not_give_the_table_of_one_process(here: Path) -> None:
    (here / "small.yaml").write_text(SCENARIO.format(steps=30))
    sweep("study.yaml", "serial", workers=0)
    driver = start("sweep", "study.yaml", "--out", "out", "--workers", "2", cwd=here)
    wait_for(lambda: (here / "out" / "journal").is_dir() and records(here / "out"))
    for worker in busy(driver.pid)[:1]:
        worker.kill()
    out, err = driver.communicate(timeout=300)
    assert (driver.returncode, out) == (0, "small-study: all runs complete; the numbers are in out\n"), err
    assert tables(here / "out") == tables(here / "serial")


def test_a_sweep_whose_driver_was_killed_is_carried_on_to_the_same_table(here: Path) -> None:
    (here / "small.yaml").write_text(SCENARIO.format(steps=30))
    sweep("study.yaml", "serial", workers=0)
    driver = start("sweep", "study.yaml", "--out", "out", "--workers", "0", cwd=here)
    wait_for(lambda: (here / "out" / "journal").is_dir() and records(here / "out"))
    driver.kill()
    driver.communicate(timeout=60)
    before = len(records(here / "out"))
    assert 0 < before < 8
    carry_on(StudyFolder(here / "out"), Where(workers=0))
    assert tables(here / "out") == tables(here / "serial")
    assert Counter(record["run_id"] for record in records(here / "out")).most_common(1)[0][1] == 1


def test_shards_are_a_partition_and_together_give_the_same_table(here: Path, backstop: Callable[..., tuple[int, str, str]]) -> None:
    sweep("study.yaml", "serial", workers=0)
    for shard in ("0/3", "2/3", "1/3"):
        code, _, err = backstop("sweep", "study.yaml", "--out", "out", "--shard", shard, "--quiet")
        assert (code, err) == (0, "")
    assert tables(here / "out") == tables(here / "serial")
    assert len(records(here / "out")) == 8
    tasks = StudyFolder(here / "out").tasks()
    assert all(sum(Where(shard=(i, 3)).takes(task) for i in range(3)) == 1 for task in tasks)


@pytest.mark.parametrize("text", ["3/3", "1", "-1/2", "a/b", "1/0", "1/2/3"])
def test_a_shard_is_a_number_below_the_number_of_shards(text: str) -> None:
    with pytest.raises(ScenarioError, match="expected i/n"):
        parsed_shard(text)


# -- interruption -----------------------------------------------------------------------------------------------------------------------


def test_an_interrupted_sweep_finishes_what_runs_ends_with_130_and_is_carried_on(here: Path) -> None:
    (here / "small.yaml").write_text(SCENARIO.format(steps=30))
    sweep("study.yaml", "serial", workers=0)
    driver = start("sweep", "study.yaml", "--out", "out", "--workers", "0", cwd=here)
    wait_for(lambda: (here / "out" / "journal").is_dir() and records(here / "out"))
    os.killpg(driver.pid, signal.SIGINT)
    out, err = driver.communicate(timeout=120)
    assert (driver.returncode, out) == (130, "")
    assert err.endswith(
        "stopping: what runs is finished; again to stop at once\nbackstop: stopped; what has run is kept: backstop resume out\n"
    )
    done = len(records(here / "out"))
    assert 0 < done < 8
    assert (StudyFolder(here / "out").summary()["status"] == "complete").sum() == done
    sweep("study.yaml", "out", workers=0)
    assert tables(here / "out") == tables(here / "serial")


# -- failure ----------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def fragile(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A rule of one's own that fails while a file `broken` lies there, if the fund is large."""
    (here / "fragile_rule_of_this_test.py").write_text(
        "import pathlib\nfrom agents.clearinghouse.accrual import AccrualRule, Levies\n\n\n"
        "class Fragile(AccrualRule):\n"
        "    def rule(self, view, state, rng):\n"
        "        if view.fund > 1e7 and pathlib.Path('broken').exists():\n"
        "            raise OverflowError('too rich')\n"
        "        return Levies(), state\n"
    )
    monkeypatch.syspath_prepend(str(here))
    monkeypatch.delitem(sys.modules, "fragile_rule_of_this_test", raising=False)
    rule = 'set: {venues.0.clearinghouse.accrual: [{type: "fragile_rule_of_this_test:Fragile"}]}\n'
    (here / "study.yaml").write_text(STUDY + rule)
    return here


def test_failed_runs_are_rows_with_their_error_and_are_retried_when_asked(
    fragile: Path, backstop: Callable[..., tuple[int, str, str]]
) -> None:
    (fragile / "broken").touch()
    code, out, err = backstop("sweep", "study.yaml", "--out", "out", "--workers", "0")
    assert code == 3
    assert err.splitlines()[-1] == "backstop: 4 rows failed, 0 missing: backstop retry out"
    assert len(out.splitlines()) == 4
    table = StudyFolder(fragile / "out").summary()
    assert table["status"].tolist() == ["complete"] * 4 + ["failed"] * 4
    assert set(table["error"][4:]) == {"step 0: OverflowError: too rich (fragile_rule_of_this_test.py:8)"}
    assert table["volume"].isna().tolist() == [False] * 4 + [True] * 4
    code, out, _ = backstop("status", "out")
    assert code == 3
    assert out.splitlines()[:2] == ["small-study: 4 of 8 runs complete, 4 failed, 0 missing", "a sweep is not at work on it"]

    (fragile / "broken").unlink()
    assert backstop("resume", "out", "--workers", "0", "--quiet")[0] == 3
    assert len(records(fragile / "out")) == 8
    assert backstop("retry", "out", "--workers", "0", "--quiet")[0] == 0
    assert len(records(fragile / "out")) == 12
    sweep("study.yaml", "again", workers=0)
    assert tables(fragile / "out") == tables(fragile / "again")


def test_a_run_that_gives_other_numbers_is_an_error_that_names_it(here: Path, backstop: Callable[..., tuple[int, str, str]]) -> None:
    table = sweep("study.yaml", "out", workers=0)
    run = table["run_id"][0]
    append(here / "out", Record(run, "complete", {"volume": 1.0, "fund_end": 2.0}, series="x").line())
    forget(here / "out")
    with pytest.raises(NonDeterminism, match=run):
        carry_on(StudyFolder(here / "out"), Where(workers=0))
    code, _, err = backstop("status", "out")
    assert code == 3
    assert err.startswith(f"backstop: run {run} gave other numbers the second time: ")
    assert len(err.splitlines()) == 1


@pytest.mark.slow
def test_a_run_that_kills_its_worker_is_missing_with_a_reason_and_the_rest_is_done(here: Path) -> None:
    (here / "deadly_rule_of_this_test.py").write_text(
        "import os, signal, pathlib\nfrom agents.clearinghouse.accrual import AccrualRule, Levies\n\n\n"
        "class Deadly(AccrualRule):\n"
        "    def rule(self, view, state, rng):\n"
        "        if view.fund > 1e7 and not pathlib.Path('harmless').exists():\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return Levies(), state\n"
    )
    rule = 'set: {venues.0.clearinghouse.accrual: [{type: "deadly_rule_of_this_test:Deadly"}]}\nreplications: 1\narms: {as_is: {}}\n'
    (here / "study.yaml").write_text(STUDY.replace("arms: {as_is: {}, kind: {recovery: 0.5}}\nreplications: 2\n", "") + rule)
    driver = start("sweep", "study.yaml", "--out", "out", "--workers", "1", cwd=here)
    _, err = driver.communicate(timeout=300)
    assert driver.returncode == 3, err
    table = StudyFolder(here / "out").summary()
    assert table["status"].tolist() == ["complete", "missing"]
    assert table["error"].tolist() == ["", "its worker died 4 times: killed, or out of memory?"]
    (here / "harmless").touch()
    driver = start("resume", "out", "--workers", "0", cwd=here)
    _, err = driver.communicate(timeout=300)
    assert driver.returncode == 0, err


# -- refusals ---------------------------------------------------------------------------------------------------------------------------


def test_another_version_of_the_model_is_refused_unless_allowed(
    here: Path, backstop: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep("study.yaml", "out", workers=0)
    home = StudyFolder(here / "out")
    manifest = json.loads((here / "out" / "manifest.json").read_text())
    manifest["source"]["blake2b"] = "0" * 32
    (here / "out" / "manifest.json").write_text(json.dumps(manifest))
    run = home.plan()["run_id"].iloc[0]
    next((here / "out" / "series").rglob(f"{run}.parquet")).unlink()
    code, _, err = backstop("resume", "out", "--workers", "0")
    assert code == 2
    (line,) = err.splitlines()
    assert line.startswith("out: model source: found ")
    assert line.endswith("expected 00000000 as when it was planned, another folder, or --allow-code-change")
    assert backstop("resume", "out", "--workers", "0", "--allow-code-change", "--quiet")[0] == 0
    assert home.series(run)["step"].tolist() == [0, 2, 3]


def test_a_changed_rule_of_ones_own_is_refused_unless_allowed(fragile: Path, backstop: Callable[..., tuple[int, str, str]]) -> None:
    (fragile / "broken").touch()
    assert backstop("sweep", "study.yaml", "--out", "out", "--workers", "0", "--quiet")[0] == 3
    path = fragile / "fragile_rule_of_this_test.py"
    path.write_text(path.read_text() + "\n# mended\n")
    (fragile / "broken").unlink()
    code, _, err = backstop("retry", "out", "--workers", "0")
    assert code == 2
    assert err.splitlines()[-1].startswith("out: rules: found changed ones, expected your own rules as they were when it was planned")
    assert backstop("retry", "out", "--workers", "0", "--allow-code-change", "--quiet")[0] == 0


def test_a_second_driver_is_refused_and_the_state_can_be_asked_for(here: Path, backstop: Callable[..., tuple[int, str, str]]) -> None:
    sweep("study.yaml", "out", workers=0)
    with StudyFolder(here / "out").locked():
        code, _, err = backstop("resume", "out", "--workers", "0")
        assert (code, err) == (2, "out: lock: found another sweep at work on it, expected one at a time\n")
        code, out, _ = backstop("status", "out")
        assert code == 0
        assert "a sweep is at work on it" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sweep", "none"], "none: study: found no study of that name, expected one of "),
        (["sweep", "study.yaml", "--workers", "-1"], "--workers"),
        (
            ["sweep", "study.yaml", "--workers", "2", "--scheduler", "tcp://127.0.0.1:9"],
            "sweep: workers: found 2, expected none beside a sch",
        ),
        (["sweep", "study.yaml", "--shard", "2/2"], "sweep: shard: found '2/2', expected i/n with i from 0 to n - 1, such as 0/4"),
        (
            ["sweep", "study.yaml", "--scheduler", "x", "--slurm", "y"],
            "sweep: cluster: found a scheduler and a SLURM profile, expected one",
        ),
        (["resume", "nowhere"], "nowhere: study: found no plan.parquet, expected a folder that `backstop sweep` has written"),
        (["status", "nowhere"], "nowhere: study: found no plan.parquet, expected a folder that `backstop sweep` has written"),
        (["study", "check", "none.yaml"], "none.yaml: file: found no such file or directory, expected a readable file"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2_and_nothing_is_written(
    here: Path, backstop: Callable[..., tuple[int, str, str]], words: list[str], said: str
) -> None:
    code, out, err = backstop(*words)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert said in line
    assert sorted(path.name for path in here.iterdir()) == ["small.yaml", "study.yaml"]


def test_a_study_with_a_dozen_faults_gets_a_dozen_lines_and_no_folder(here: Path, backstop: Callable[..., tuple[int, str, str]]) -> None:
    (here / "study.yaml").write_text(STUDY + "seed: -1\nsteps: 0\n" + "".join(f"unknown{at}: 1\n" for at in range(10)))
    for words in (["study", "check"], ["sweep"]):
        code, _, err = backstop(*words, "study.yaml")
        assert (code, len(err.splitlines())) == (2, 12)
    assert sorted(path.name for path in here.iterdir()) == ["small.yaml", "study.yaml"]


# -- asking first -----------------------------------------------------------------------------------------------------------------------


def test_a_dry_run_says_what_a_study_will_take_and_writes_nothing(here: Path, backstop: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = backstop("sweep", "study.yaml", "--dry-run", "--workers", "2")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "small-study: 2 points x 2 arms x 2 replications = 8 runs of 3 steps"
    assert "processor hours" in lines[1]
    assert lines[2].startswith("disk: ")
    assert lines[3] == "nothing was written"
    assert sorted(path.name for path in here.iterdir()) == ["small.yaml", "study.yaml"]


def test_a_dry_run_of_a_shard_counts_the_shards_runs(here: Path, backstop: Callable[..., tuple[int, str, str]]) -> None:
    counts = []
    for part in range(3):
        code, out, _ = backstop("sweep", "study.yaml", "--dry-run", "--shard", f"{part}/3")
        assert code == 0
        (line,) = [line for line in out.splitlines() if line.startswith(f"shard {part}/3: ")]
        counts.append(int(line.split()[2]))
        assert line.endswith(" of these 8 runs")
    assert sum(counts) == 8
    tasks = make(load_study("study.yaml")).tasks()
    assert counts == [sum(Where(shard=(part, 3)).takes(task) for task in tasks) for part in range(3)]


def test_the_disk_that_a_dry_run_expects_is_what_a_sweep_takes(here: Path, backstop: Callable[..., tuple[int, str, str]]) -> None:
    expected = float(backstop("sweep", "study.yaml", "--dry-run", "--workers", "0")[1].splitlines()[2].split()[1])
    sweep("study.yaml", "out", workers=0)
    taken = sum(path.stat().st_size for name in ("journal", "series") for path in (here / "out" / name).rglob("*") if path.is_file())
    assert expected == pytest.approx(taken / 1e6, rel=0.15)


def test_a_sound_study_is_said_to_be_sound_and_the_shipped_ones_are_listed(backstop: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = backstop("study", "check", "study.yaml")
    assert (code, out) == (0, "study.yaml: sound; 2 points x 2 arms x 2 replications = 8 runs of 3 steps\n")
    code, out, _ = backstop("study", "list")
    assert code == 0
    assert {"fund-size", "fund-size-small", "leverage-fund"} <= {line.split()[0] for line in out.splitlines()}
    code, out, _ = backstop("study", "schema")
    assert json.loads(out)["title"] == "Backstop study"


# -- clusters ---------------------------------------------------------------------------------------------------------------------------


def test_a_job_for_slurm_is_written_from_a_profile(here: Path) -> None:
    pytest.importorskip("dask_jobqueue")
    from experiments.sweep import _slurm  # noqa: PLC0415 - imported where it can be used

    (here / "bad.yaml").write_text("queue: short\ncoers: 4\n")
    with pytest.raises(ScenarioError, match=r"bad.yaml: profile: found .*coers"):
        _slurm(here / "bad.yaml", 2)


@contextmanager
def cluster(folder: Path, workers: int, *, threads: int = 1) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A Dask scheduler and workers as separate processes: its address, and the processes, the scheduler first."""
    environment = {**os.environ, "PYTHONPATH": f"{folder}:{ROOT}", **THREADS}
    file = folder / "scheduler.json"
    file.unlink(missing_ok=True)
    quiet: dict[str, Any] = {"cwd": folder, "env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    dask = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    words = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
    processes = [subprocess.Popen([*dask, *words], **quiet)]
    try:
        wait_for(file.exists)
        address = wait_for(lambda: json.loads(file.read_text() or "{}").get("address"))
        worker = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", str(threads), "--no-dashboard"]
        processes += [subprocess.Popen(worker, **quiet) for _ in range(workers)]
        yield address, processes
    finally:
        for process in processes:
            for child in psutil.Process(process.pid).children(recursive=True) if process.poll() is None else ():
                child.kill()
            process.kill()
            process.wait()


@pytest.mark.slow
def test_workers_reached_by_address_give_the_same_table_and_a_dead_scheduler_loses_nothing(here: Path) -> None:
    (here / "small.yaml").write_text(SCENARIO.format(steps=60))
    sweep("study.yaml", "serial", workers=0)
    with cluster(here, 2) as (address, _):
        sweep("study.yaml", "far", where=Where(scheduler=address))
    assert tables(here / "far") == tables(here / "serial")
    with cluster(here, 2) as (address, processes):
        driver = start("sweep", "study.yaml", "--out", "out", "--scheduler", address, cwd=here)
        wait_for(lambda: (here / "out" / "journal").is_dir() and records(here / "out"))
        processes[0].kill()
        _, err = driver.communicate(timeout=300)
        assert driver.returncode == 3, err
    sweep("study.yaml", "out", workers=0)
    assert tables(here / "out") == tables(here / "serial")


@pytest.mark.slow
def test_workers_with_other_code_or_more_threads_are_refused(here: Path) -> None:
    with cluster(here, 1, threads=2) as (address, _), pytest.raises(ScenarioError, match="found 2 threads in one, expected 1 in each"):
        sweep("study.yaml", "out", where=Where(scheduler=address))
    other = here / "other"
    for package in ("agents", "model", "experiments"):
        subprocess.run(["cp", "-r", str(ROOT / package), str(other / package)] if other.mkdir(exist_ok=True) is None else [], check=True)
    (other / "model" / "changed.py").write_text("x = 1\n")
    for name in ("small.yaml", "study.yaml"):
        (other / name).write_text((here / name).read_text())
    with cluster(other, 1) as (address, _), pytest.raises(ScenarioError, match="workers' model source: found"):
        sweep("study.yaml", "out", where=Where(scheduler=address))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_any_number_of_workers_gives_the_table_of_one_process(here: Path, workers: int) -> None:
    sweep("study.yaml", "serial", workers=0)
    sweep("study.yaml", "out", workers=workers)
    assert tables(here / "out") == tables(here / "serial")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_whatever_is_killed_at_whatever_time_nothing_is_lost_and_the_table_is_the_same(here: Path, seed: int) -> None:
    (here / "small.yaml").write_text(SCENARIO.format(steps=30))
    (here / "study.yaml").write_text(STUDY.replace("replications: 2", "replications: 10"))
    sweep("study.yaml", "serial", workers=0)
    rng = np.random.default_rng(seed)
    for _ in range(6):
        driver = start("sweep", "study.yaml", "--out", "out", "--workers", str(1 + seed % 3), cwd=here)
        wait_for(lambda driver=driver: busy(driver.pid) or driver.poll() is not None)
        time.sleep(rng.uniform(0.5, 6.0))
        workers = busy(driver.pid)
        match rng.integers(3):
            case 0 if workers:
                workers[rng.integers(len(workers))].kill()
                time.sleep(rng.uniform(0.0, 2.0))
                driver.kill()
            case 1:
                os.killpg(driver.pid, signal.SIGKILL)
            case _:
                driver.kill()
        driver.communicate(timeout=60)
    driver = start("sweep", "study.yaml", "--out", "out", "--workers", "2", cwd=here)
    _, err = driver.communicate(timeout=600)
    assert driver.returncode == 0, err
    assert tables(here / "out") == tables(here / "serial")
    table = lacking(StudyFolder(here / "out").summary(), Where())
    assert table.empty
    assert not list((here / "out").rglob("*.partial"))


def test_a_study_given_by_name_is_run_under_its_own_name(here: Path) -> None:
    sweep(load_study("study.yaml"), workers=0)
    (folder,) = (here / "results").iterdir()
    assert folder.name.startswith("small-study-")
    assert len(folder.name) == len("small-study-") + 8
