"""The wheel holds every package and scenario, and works where the source tree is not."""

import itertools
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
PACKAGES = ("agents", "experiments", "model")

pytestmark = pytest.mark.xdist_group("wheel")  # one worker, so that the wheel is built once


def run(*command: str | Path, cwd: Path) -> str:
    """Output of a command; a failure shows what it printed."""
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def source_files(pattern: str) -> set[str]:
    """Paths of our packages' files, relative to the root, as a wheel names them."""
    return {path.relative_to(ROOT).as_posix() for package in PACKAGES for path in (ROOT / package).rglob(pattern)}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy so that neither old build folders nor new ones are in the way."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.iterdir():
        if path.is_file() and path.suffix in {".toml", ".md", ""}:
            shutil.copy(path, source)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, source, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    """A folder that holds the installed wheel and nothing else."""
    target = wheel.parent / "installed"
    run(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", target, wheel, cwd=wheel.parent)
    return target


def test_the_wheel_holds_every_module_and_every_scenario(wheel: Path) -> None:
    expected = set().union(*(source_files(f"*.{kind}") for kind in ("py", "yaml", "html", "vue", "css")))
    assert {"agents/__init__.py", "agents/clearinghouse/__init__.py", "experiments/__init__.py", "model/__init__.py"} <= expected
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == expected, "list the package, or its data, in pyproject.toml"


def test_every_folder_of_modules_is_a_package() -> None:
    folders = {Path(name).parent for name in source_files("*.py")}
    assert [folder for folder in sorted(folders) if not (ROOT / folder / "__init__.py").is_file()] == []


def test_the_wheel_carries_its_licence_and_its_command(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (licence,) = (name for name in archive.namelist() if name.endswith("licenses/LICENSE"))
        assert "Apache License" in archive.read(licence).decode()
        (commands,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
        assert "backstop = experiments.cli:main" in archive.read(commands).decode()


def test_the_installed_packages_are_imported_from_where_they_were_installed(installed: Path, tmp_path: Path) -> None:
    modules = (*PACKAGES, "agents.clearinghouse")
    program = f"import sys; sys.path.insert(0, {str(installed)!r})\n"
    program += "".join(f"import {module}\nprint({module}.__file__)\n" for module in modules)
    found = run(sys.executable, "-I", "-c", program, cwd=tmp_path).splitlines()
    assert [Path(path) for path in found] == [installed / module.replace(".", "/") / "__init__.py" for module in modules]


def test_the_installed_command_prints_its_help(installed: Path, tmp_path: Path) -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(installed)!r}); sys.argv = ['backstop', '--help']\n"
        "from importlib.metadata import distribution\n"
        "(command,) = distribution('backstop').entry_points.select(group='console_scripts', name='backstop')\n"
        "main = command.load()\n"
        f"assert sys.modules['experiments.cli'].__file__.startswith({str(installed)!r})\n"
        "main()"
    )
    assert "Usage: backstop" in run(sys.executable, "-I", "-c", program, cwd=tmp_path)


def test_the_citation_names_the_version_and_the_licence_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])


def test_the_constraints_pin_a_version_for_each_requirement_and_name_no_address() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    wanted = {re.split(r"[\[<>=]", line)[0].lower() for line in itertools.chain(*lists)} - {"backstop"}
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    pinned = {line.partition("==")[0].lower().replace("_", "-") for line in lines}
    assert sorted(wanted - pinned) == []
