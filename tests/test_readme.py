"""The README's examples run as they stand."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import shipped
from experiments.plan import make
from experiments.policy_search import load_search
from experiments.rare_study import load_rare
from experiments.runner import run
from experiments.study import load_study
from experiments.study_store import StudyFolder

README = Path(__file__).parent.parent / "README.md"


def blocks(language: str) -> list[str]:
    """Fenced blocks of the README in one language."""
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_the_library_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    example = next(block for block in blocks("python") if "experiments.runner" in block)
    exec(compile(example, "README.md", "exec"), {})  # noqa: S102 - our own README
    assert "residual_loss" in capsys.readouterr().out


def test_an_accrual_rule_of_ones_own_takes_under_twenty_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = next(block for block in blocks("python") if "class TopUp" in block)
    assert len([line for line in source.splitlines() if line.strip()]) < 20
    (tmp_path / "my_rules.py").write_text(source, encoding="utf-8")
    (tmp_path / "top_up.yaml").write_text(next(block for block in blocks("yaml") if "TopUp" in block), encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_rules", raising=False)
    done = run(tmp_path / "top_up.yaml", seed=0, steps=24, check_laws=True)
    flows = done.statement.groupby("flow")["amount"].sum()
    # The fund opens below its target or grows towards it: the rule took trading fees, and nothing levied open interest.
    assert flows.get("trading_fee", 0.0) > 0.0 or (done.series["adequacy"] >= 1.0).all()
    assert "open_interest_levy" not in flows


def test_the_scenario_example_is_valid(tmp_path: Path) -> None:
    others = ("TopUp", "factors:", "shock:", "safety:")
    for number, block in enumerate(b for b in blocks("yaml") if not any(word in b for word in others)):
        path = tmp_path / f"{number}.yaml"
        path.write_text(block, encoding="utf-8")
        assert shipped.load(path).venues[0].clearinghouse.fund == 5e6


def test_the_study_example_is_valid(tmp_path: Path) -> None:
    (tmp_path / "my_study.yaml").write_text(next(block for block in blocks("yaml") if "factors:" in block), encoding="utf-8")
    study = load_study(tmp_path / "my_study.yaml")
    assert len(make(study).table) == 5 * 2 * 20


def test_the_rare_and_the_search_examples_are_valid(tmp_path: Path) -> None:
    for name, word in (("rare", "shock:"), ("frontier", "safety:"), ("my_study", "factors:")):
        text = next(block for block in blocks("yaml") if word in block)
        more = "".join(f"\n  - {{name: {cost}, of: {cost}, over: sum}}" for cost in ("fees", "levies"))
        told = text.replace("of: residual_loss, over: sum}", "of: residual_loss, over: sum}" + more)
        (tmp_path / f"{name}.yaml").write_text(told if name == "my_study" else text, encoding="utf-8")
    assert load_rare(tmp_path / "rare.yaml").runs == 1000
    given, study = load_search(tmp_path / "frontier.yaml")
    assert (given.batches, study.name) == (4, "fund-or-levy")


def test_the_sweep_example_runs_the_small_study_that_ships(tmp_path: Path) -> None:
    example = next(block for block in blocks("python") if "experiments.sweep" in block)
    (tmp_path / "example.py").write_text(example, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(README.parent)}
    done = subprocess.run([sys.executable, "example.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "results").iterdir()
    table = StudyFolder(folder).summary()
    assert table["status"].tolist() == ["complete"] * 12
    losses = table.groupby("fund")["residual_loss"].mean()
    assert losses.is_monotonic_decreasing
    assert "100000000.0  flat" in done.stdout


def test_every_file_that_the_readme_names_exists() -> None:
    text = README.read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:model|agents|experiments)/[\w/]+\.py)", text)) | set(re.findall(r"\]\(([\w/.]+\.(?:py|cff|png))\)", text))
    missing = sorted(name for name in named if not (README.parent / name).exists())
    assert not missing
