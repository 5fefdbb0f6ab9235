"""The list of mutations fits the source; the runner tells what is noticed from what is not."""

import ast
from pathlib import Path

import pytest

from experiments import mutations
from experiments.mutation_list import MUTATIONS, Mutation

ROOT = Path(__file__).parents[2]
ENGINE = {"model/rule.py": "RATE = 2\n\n\ndef fee(usd):\n    return RATE * usd\n"}
SUITE = "from model.rule import fee\n\n\ndef test_the_fee_is_twice_the_amount():\n    assert fee(3) == 6\n"
HERE = "tests/model/test_rule.py"
NOTICED = Mutation("dearer", "The fee is higher.", "model/rule.py", "RATE = 2", "RATE = 3", (HERE,))
SURVIVES = Mutation("same", "Nothing changes.", "model/rule.py", "RATE * usd", "usd * RATE", (HERE,))
ENDLESS = Mutation("endless", "It never returns.", "model/rule.py", "    return", "    while True:\n        pass\n    return", (HERE,))


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_each_mutation_finds_what_it_breaks_once_and_leaves_a_program(mutation: Mutation) -> None:
    broken = ast.parse(mutations.mutated(mutation, ROOT))
    assert ast.dump(broken) != ast.dump(ast.parse((ROOT / mutation.file).read_text()))
    assert [path for path in mutation.expected if not (ROOT / path).is_file()] == []
    assert mutation.expected


def test_mutations_have_names_of_their_own() -> None:
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)


def test_a_mutation_whose_place_has_changed_is_refused() -> None:
    gone = NOTICED._replace(file="model/ledger.py")
    with pytest.raises(ValueError, match=r"dearer: found 0 times in model/ledger\.py, expected once: RATE = 2"):
        mutations.mutated(gone, ROOT)


def test_expected_tests_come_first_and_every_test_of_the_engine_once() -> None:
    files = mutations.suite(ROOT, ("tests/model/test_news.py",))
    assert files[:2] == ["tests/model/test_news.py", "tests/reference/test_twin.py"]
    assert len(files) == len(set(files))
    every = {
        path.relative_to(ROOT).as_posix() for folder in ("model", "agents", "laws") for path in (ROOT / "tests" / folder).glob("test_*")
    }
    assert every <= set(files)
    assert not any(name.startswith("tests/experiments") for name in files)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A source tree with one rule and one test; the source of this project is out of sight."""
    for name, text in {**ENGINE, HERE: SUITE, "agents/none.py": "", "experiments/none.py": "", "pyproject.toml": ""}.items():
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(mutations, "ROOT", tmp_path / "source")
    monkeypatch.setattr(mutations, "FIRST", ("tests",))
    monkeypatch.setattr(mutations, "MUTATIONS", (NOTICED, SURVIVES))
    return tmp_path / "source"


def test_a_survivor_is_named_and_the_command_fails(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert mutations.main(only=["dearer"]) == 0
    assert f"{HERE}::test_the_fee_is_twice_the_amount" in "".join(capsys.readouterr().out.split())
    assert mutations.main(workers=2) == 3
    said = capsys.readouterr().out
    assert "same: Nothing changes. No test notices." in said
    assert "1 of 2 noticed" in said
    assert (project / "model/rule.py").read_text() == ENGINE["model/rule.py"]


def test_a_suite_that_fails_on_the_whole_engine_proves_nothing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / HERE).write_text(SUITE.replace("6", "7"))
    assert mutations.main() == 3
    assert "the whole engine fails" in capsys.readouterr().out


def test_an_unknown_mutation_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert mutations.main(only=["nonsense"]) == 2
    assert "nonsense" in capsys.readouterr().out


def test_an_engine_that_never_returns_is_noticed(project: Path) -> None:
    whole = project.parent / "whole"
    mutations.copy_source(project, whole)
    verdict = mutations.attempt(ENDLESS, whole, 3.0)
    assert (verdict.noticed_by, verdict.tried) == ("timeout", True)
