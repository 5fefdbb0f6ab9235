"""The command line: what it imports, what it answers, how it ends."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from experiments import cli

ROOT = Path(__file__).parents[2]
PROGRAM = "import sys; sys.path.insert(0, {root!r}); from experiments.cli import main; main()"
COMMAND = [sys.executable, "-c", PROGRAM.format(root=str(ROOT))]
SMALL = "name: small\nsteps: 3\ntraders: {groups: [{name: few, count: 20, equity: 2e7}]}\n"
HEAVY = ("numpy", "pandas", "mesa", "matplotlib", "pydantic", "scipy", "networkx", "seaborn", "pyarrow", "dask", "distributed", "SALib")


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.err.splitlines()


type Backstop = Callable[..., Done]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a scenario in it."""
    (tmp_path / "small.yaml").write_text(SMALL)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def backstop(here: Path, capsys: pytest.CaptureFixture[str]) -> Backstop:
    """Runs a command to its end, in this process, for a new one takes seconds to import the model."""

    def run(*words: str) -> Done:
        code = cli._code(list(words))
        out, err = capsys.readouterr()
        return Done(code, out, err)

    return run


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# -- help -------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["sweep", "--help"], ["scenario", "--help"], ["study", "--help"]])
def test_help_imports_nothing_heavy(words: list[str], tmp_path: Path) -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom experiments.cli import main\ntry: main({words!r})\nexcept SystemExit: pass\n"
    )
    program += f"print('loaded:', [name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-I", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "Usage: backstop" in done.stdout
    assert done.stdout.splitlines()[-1] == "loaded: []"


def test_help_lists_every_command(backstop: Backstop) -> None:
    done = backstop("--help")
    assert done.code == 0
    commands = ["run", "sweep", "resume", "retry", "status", "study", "analyse", "report", "attribute", "rare", "search"]
    commands += ["scenario", "bench", "backtest", "validate", "app"]
    assert [command for command in commands if f" {command} " not in done.out] == []


def test_linear_algebra_runs_on_one_thread(tmp_path: Path) -> None:
    program = f"import os, sys; sys.path.insert(0, {str(ROOT)!r})\nfrom experiments.cli import main\n"
    program += "try: main(['--version'])\nexcept SystemExit: pass\n"
    program += "print([os.environ[name] for name in ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS')])"
    done = subprocess.run([sys.executable, "-I", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "['1', '1', '1']"


# -- run --------------------------------------------------------------------------------------------------------------------------------


def test_a_run_writes_a_folder_and_prints_a_table(backstop: Backstop, here: Path) -> None:
    done = backstop("run", "small.yaml", "--seed", "7", "--set", "venues.0.clearinghouse.fund=5e7", "--steps", "2", "--check-laws")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("small, seed 7: 2 steps, 2 hours\n")
    assert "$50.0m" in done.out
    assert "look at results/small-seed7/figures" in done.out
    folder = here / "results" / "small-seed7"
    assert pd.read_parquet(folder / "series.parquet")["fund"].iloc[0] == 5e7
    assert json.loads((folder / "manifest.json").read_text())["steps"] == 2


def test_a_quiet_run_prints_nothing(backstop: Backstop, here: Path) -> None:
    done = backstop("run", "small.yaml", "--out", "there", "--quiet")
    assert (done.code, done.out, done.err) == (0, "", "")
    assert (here / "there" / "summary.json").is_file()


def test_recorded_prices_are_replayed_to_their_end(backstop: Backstop, here: Path) -> None:
    for name, price in (("btc", 60_000.0), ("eth", 3_000.0)):
        rows = "".join(f"2025-01-01T0{hour}:00:00,{price},{price * 1.01},{price * 0.99},{price}\n" for hour in range(5))
        (here / f"{name}.csv").write_text(f"timestamp,open,high,low,close\n{rows}")
    done = backstop("run", "small.yaml", "--prices", "BTC=btc.csv", "ETH=eth.csv", "--quiet")
    assert (done.code, done.err) == (0, "")
    series = pd.read_parquet(here / "results" / "small-seed0" / "series.parquet")
    assert len(series) == 1 + 5
    assert series["index_ETH"].iloc[-1] == pytest.approx(3_000.0, rel=1e-9)
    manifest = json.loads((here / "results" / "small-seed0" / "manifest.json").read_text())
    assert [entry["file"] for entry in manifest["prices"]] == ["btc.csv", "eth.csv"]


def test_an_earlier_run_is_not_replaced_unless_asked(backstop: Backstop, here: Path) -> None:
    assert backstop("run", "small.yaml", "--out", "there", "--quiet").code == 0
    again = backstop("run", "small.yaml", "--out", "there", "--quiet")
    assert (again.code, again.lines) == (2, ["there: out: found an earlier run, expected another folder, or --overwrite to replace it"])
    assert backstop("run", "small.yaml", "--out", "there", "--quiet", "--overwrite", "--seed", "1").code == 0
    assert json.loads((here / "there" / "manifest.json").read_text())["seed"] == 1


# -- bad input --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "--seed", "-1"], "--seed"),
        (["run", "--seed", "x"], "--seed"),
        (["run", "--steps", "0"], "--steps"),
        (["run", "--stepz", "3"], "--stepz"),
        (["run", "small.yaml", "extra"], "extra"),
        (["runn"], "runn"),
        (["scenario", "chek"], "chek"),
        (["run", "none.yaml"], "none.yaml: file: found no such file or directory, expected a readable file"),
        (["run", "none"], "none: scenario: found no scenario of that name, expected "),
        (["run", "small.yaml", "--set", "steps=0"], "--set steps=0: steps: found 0, expected at least 1"),
        (["run", "small.yaml", "--prices", "none.csv"], "none.csv: file: found no such file or directory, expected a readable file"),
        (["run", "small.yaml", "--set", "steps"], "--set steps: setting: found 'steps', expected path=value"),
        (["run", "small.yaml", "--out", "small.yaml"], "small.yaml: out: found a file, expected a folder"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2_and_nothing_is_written(backstop: Backstop, here: Path, words: list[str], said: str) -> None:
    done = backstop(*words)
    assert (done.code, done.out) == (2, "")
    (line,) = done.lines
    assert said in line
    assert files(here) == ["small.yaml"]


def test_a_file_with_a_dozen_faults_gets_a_dozen_lines(backstop: Backstop, here: Path) -> None:
    (here / "bad.yaml").write_text("steps: x\nrecovery: 2\n" + "".join(f"unknown{at}: 1\n" for at in range(10)))
    for words in (["scenario", "check", "bad.yaml"], ["run", "bad.yaml"]):
        done = backstop(*words)
        assert (done.code, len(done.lines)) == (2, 12)
        assert [line.split(":")[1] for line in done.lines] == [str(at) for at in range(1, 13)]
    assert files(here) == ["bad.yaml", "small.yaml"]


# -- failure and interruption -----------------------------------------------------------------------------------------------------------


def test_a_run_that_fails_says_where_ends_with_3_and_writes_nothing(
    backstop: Backstop, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "bad_news_for_this_test.py").write_text(
        "from model.news import Constant\n\n\n"
        "class Bad(Constant):\n"
        "    def rule(self, view, state, streams):\n"
        "        if view.step == 1:\n"
        "            raise OverflowError('too much news')\n"
        "        return super().rule(view, state, streams)\n"
    )
    monkeypatch.syspath_prepend(here)
    done = backstop("run", "small.yaml", "--set", "news.type=bad_news_for_this_test:Bad")
    assert (done.code, done.out) == (3, "")
    assert done.lines == ["backstop: step 2: OverflowError: too much news (bad_news_for_this_test.py:7)"]
    assert "results" not in files(here)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_with_130_and_leaves_nothing_behind(here: Path, how: signal.Signals) -> None:
    (here / "own_news.py").write_text(
        "import pathlib\nfrom model.news import Constant\n\n\n"
        "class Slow(Constant):\n"
        "    def rule(self, view, state, streams):\n"
        "        pathlib.Path('begun').touch()\n"
        "        return super().rule(view, state, streams)\n"
    )
    process = subprocess.Popen(
        [*COMMAND, "run", "small.yaml", "--steps", "1000000", "--set", "news.type=own_news:Slow"],
        cwd=here, env={**os.environ, "PYTHONPATH": str(here)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (here / "begun").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(how)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "backstop: interrupted; nothing was written\n")
    assert "results" not in files(here)


# -- scenario ---------------------------------------------------------------------------------------------------------------------------


def test_a_sound_scenario_is_said_to_be_sound(backstop: Backstop, here: Path) -> None:
    done = backstop("scenario", "check", "small.yaml")
    assert (done.code, done.out, done.err) == (0, "small.yaml: sound\n", "")


def test_the_schema_is_printed_as_json(backstop: Backstop, here: Path) -> None:
    done = backstop("scenario", "schema")
    assert done.code == 0
    assert json.loads(done.out)["properties"]["steps"]["minimum"] == 1


def test_the_shipped_scenarios_are_listed_with_their_first_line(backstop: Backstop, here: Path) -> None:
    done = backstop("scenario", "list")
    known = [path.stem for path in sorted((ROOT / "experiments" / "scenarios").glob("*.yaml"))]
    assert done.code == 0
    assert [line.split()[0] for line in done.out.splitlines()] == known
    assert all(len(line.split()) > 3 for line in done.out.splitlines())
