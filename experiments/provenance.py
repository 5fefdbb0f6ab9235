"""Where a result comes from: the code, the scenario, the data, the machine; and an id that is the same wherever the same run is made."""

import hashlib
import importlib.util
import json
import os
import platform
import subprocess
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from model.errors import ScenarioError, fault
from model.network import EdgeList
from model.news import Replay
from model.prices import named_path
from model.scenario import Scenario

ROOT: Final = Path(__file__).parent.parent
SOURCES: Final = ("agents", "model")
"""The packages that decide a run's numbers."""
PACKAGES: Final = ("backstop", "mesa", "networkx", "numpy", "pandas", "pyarrow", "pydantic", "pyyaml", "scipy", "matplotlib", "seaborn")
THREADS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def manifest(scenario: Scenario, seed: int, seconds: float) -> dict[str, Any]:
    """What made a run, as plain data; names no user, machine or private folder."""
    return {
        "run_id": run_id(scenario, seed),
        "scenario": scenario.name,
        "seed": seed,
        "steps": scenario.steps,
        "created": now(),
        "seconds": round(seconds, 3),
        **made_by(scenario),
    }


def made_by(scenario: Scenario) -> dict[str, Any]:
    """Code, data and machine behind the results of a scenario, as plain data."""
    return {
        "source": {"blake2b": source_digest(), **_commit()},
        "own_rules": {kind: _digest_of_rule(kind) for kind in _own_rules(scenario)},
        "prices": [{"file": path.name, "sha256": sha256(path)} for path in price_files(scenario)],
        "network": [{"file": path.name, "sha256": sha256(path)} for path in network_files(scenario)],
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": {name: found for name in PACKAGES if (found := version(name))},
        "platform": f"{platform.system()} {platform.machine()}",
        "threads": {name: os.environ.get(name) for name in THREADS},
    }


def now() -> str:
    """The time, in seconds, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def run_id(scenario: Scenario, seed: int, *, source: str | None = None) -> str:
    """BLAKE2b-128 of the model's source, own rules, resolved scenario, price files' contents and seed: 32 hexadecimal digits.

    `source` is the digest of the model's source, taken now if None.
    """
    return run_ids(scenario, [seed], source=source)[0]


def run_ids(scenario: Scenario, seeds: Iterable[int], *, source: str | None = None) -> list[str]:
    """Ids of the runs of one scenario under several seeds; see `run_id`."""
    content = {
        "source": source or source_digest(),
        "own_rules": {kind: _digest_of_rule(kind) for kind in _own_rules(scenario)},
        "scenario": without_folders(scenario).model_dump(mode="json", by_alias=True),
        "prices": [sha256(path) for path in price_files(scenario)],
        "network": [sha256(path) for path in network_files(scenario)],
    }
    return [blake2b(json.dumps({**content, "seed": seed}, sort_keys=True, ensure_ascii=False).encode()) for seed in seeds]


def source_digest() -> str:
    """BLAKE2b-128 of the packages that decide a run's numbers, each file with its name."""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(file for package in SOURCES for file in (ROOT / package).rglob("*.py")):
        digest.update(f"{path.relative_to(ROOT).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def price_files(scenario: Scenario) -> list[Path]:
    """The files that a replay reads, in order."""
    news = scenario.news
    if not isinstance(news, Replay.Parameters):
        return []
    if isinstance(news.files, dict):
        return [Path(path) for path in news.files.values()]
    return [Path(named_path(entry)[1]) for entry in news.files]


def network_files(scenario: Scenario) -> list[Path]:
    """The file that a given network is read from."""
    network = scenario.network
    return [Path(network.file)] if isinstance(network, EdgeList.Parameters) else []


def scenario_files(scenario: Scenario) -> list[Path]:
    """Every file that a scenario reads: prices, then the network."""
    return [*price_files(scenario), *network_files(scenario)]


def without_folders(scenario: Scenario) -> Scenario:
    """The scenario with price and network files named without their folders, fit to be shown to others."""
    for path in network_files(scenario):
        scenario = scenario.model_copy(update={"network": scenario.network.model_copy(update={"file": path.name})})
    news = scenario.news
    if not isinstance(news, Replay.Parameters):
        return scenario
    files: dict[str, str] | tuple[str, ...]
    if isinstance(news.files, dict):
        files = {market: Path(path).name for market, path in news.files.items()}
    else:
        parts = [named_path(entry) for entry in news.files]
        files = tuple(Path(path).name if market is None else f"{market}={Path(path).name}" for market, path in parts)
    return scenario.model_copy(update={"news": news.model_copy(update={"files": files})})


def _own_rules(scenario: Scenario) -> list[str]:
    """Every `package.module:Class` that the scenario names."""

    def walk(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            kind = value.get("type")
            if isinstance(kind, str) and ":" in kind:
                yield kind
            for item in value.values():
                yield from walk(item)
        elif isinstance(value, list):
            for item in value:
                yield from walk(item)

    return sorted(set(walk(scenario.model_dump(mode="json"))))


def _digest_of_rule(kind: str) -> str:
    """BLAKE2b-128 of the module that a user's own rule stands in."""
    spec = importlib.util.find_spec(kind.partition(":")[0])
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        return ""
    return blake2b(Path(spec.origin).read_bytes())


def blake2b(content: bytes) -> str:
    """BLAKE2b-128, 32 hexadecimal digits."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def sha256(path: Path) -> str:
    """SHA-256 of a file's content."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ScenarioError([fault(path, None, "file", (error.strerror or "an error").lower(), "a readable file")]) from None


def version(package: str) -> str | None:
    """Of an installed package; None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> dict[str, Any]:
    """The commit and whether the packages differ from it; nothing if this is not a checkout of the project itself."""
    if not (ROOT / ".git").exists():
        return {}
    commit = _git("rev-parse", "--verify", "--quiet", "HEAD")
    changed = _git("status", "--porcelain", "--", "agents", "model", "experiments")
    return {"commit": commit or None, "changed": None if changed is None else bool(changed)}


def _git(*words: str) -> str | None:
    """What git answers, None if it cannot."""
    try:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
