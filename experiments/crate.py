"""A study's folder described for others as an RO-Crate (Soiland-Reyes et al. 2022; https://w3id.org/ro/crate/1.1)."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.provenance import version

if TYPE_CHECKING:
    from experiments.study_store import StudyFolder

FILES = {
    "study.yaml": ("The study as it was given", "application/yaml"),
    "resolved.yaml": ("The study with its base scenario and every setting written out", "application/yaml"),
    "plan.parquet": ("Every run: point, arm, replication, seed and factors", "application/vnd.apache.parquet"),
    "summary.parquet": ("Every run's status and outputs", "application/vnd.apache.parquet"),
    "summary.csv": ("Every run's status and outputs", "text/csv"),
    "manifest.json": ("Code, packages, platform and sessions", "application/json"),
}
MADE = {
    "analysis/": ("Tables of the analyses", {".csv": "text/csv", ".txt": "text/plain"}),
    "figures/": (
        "Figures, each with the table that it draws",
        {".pdf": "application/pdf", ".svg": "image/svg+xml", ".png": "image/png", ".csv": "text/csv"},
    ),
    "tables/": ("Tables for a paper", {".tex": "application/x-tex", ".csv": "text/csv"}),
}
"""What analysis and report make of a study, once they have: folders, and the files in them by kind."""
REPORT = {"@id": "report.html", "@type": "File", "name": "The report: question, design, figures, tables", "encodingFormat": "text/html"}
FOLDERS = {"journal/": "One checksummed line a run", "series/": "What was kept of each run's series", "inputs/": "Files the study reads"}


def described(folder: "StudyFolder") -> dict[str, Any]:
    """RO-Crate metadata of the folder, JSON-LD; names no person and no machine."""
    study, manifest = folder.study, folder.manifest
    sessions = folder.journal().sessions
    files = [{"@id": name, "@type": "File", "name": says, "encodingFormat": form} for name, (says, form) in FILES.items()]
    parts = [{"@id": name, "@type": "Dataset", "name": says} for name, says in FOLDERS.items() if (folder.path / name).is_dir()]
    made = list(_made(folder.path))
    software = {
        "@id": "#backstop",
        "@type": "SoftwareApplication",
        "name": "Backstop",
        "softwareVersion": " ".join(filter(None, (version("backstop"), f"source {folder.source}", manifest["source"].get("commit")))),
        "softwareRequirements": [f"{name}=={number}" for name, number in manifest["packages"].items()],
    }
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": study.name,
        "description": study.description or study.question or study.name,
        "datePublished": manifest["created"],
        "license": {"@id": "https://spdx.org/licenses/Apache-2.0"},
        "hasPart": [{"@id": part["@id"]} for part in (*files, *parts, *(part for part in made if "/" not in part["@id"][:-1]))],
        "mentions": [{"@id": action} for action in ("#sweep", *(("#analysis",) if made else ()))],
    }
    action = {
        "@id": "#sweep",
        "@type": "CreateAction",
        "name": study.question or f"Runs of study {study.name}",
        "instrument": {"@id": "#backstop"},
        "object": [{"@id": "resolved.yaml"}, {"@id": "plan.parquet"}],
        "result": [{"@id": "summary.parquet"}, {"@id": "summary.csv"}],
        "startTime": manifest["created"],
        **({"endTime": ended[-1]} if (ended := sorted(s["ended"] for s in sessions if "ended" in s)) else {}),
    }
    analysis = {
        "@id": "#analysis",
        "@type": "CreateAction",
        "name": f"Analyses of study {study.name}",
        "instrument": {"@id": "#backstop"},
        "object": [{"@id": "resolved.yaml"}, {"@id": "summary.parquet"}],
        "result": [{"@id": part["@id"]} for part in made if "/" not in part["@id"][:-1]],
    }
    itself = {
        "@id": "ro-crate-metadata.json",
        "@type": "CreativeWork",
        "about": {"@id": "./"},
        "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
    }
    graph = [itself, root, action, *([analysis] if made else []), software, *files, *parts, *made]
    return {"@context": "https://w3id.org/ro/crate/1.1/context", "@graph": graph}


def _made(path: Path) -> Iterator[dict[str, Any]]:
    """What has been made of the runs: folders, each with the files in it, and the report."""
    for name, (says, forms) in MADE.items():
        files = [file for file in sorted((path / name).glob("*")) if file.suffix in forms]
        if files:
            yield {"@id": name, "@type": "Dataset", "name": says, "hasPart": [{"@id": f"{name}{file.name}"} for file in files]}
        for file in files:
            yield {"@id": f"{name}{file.name}", "@type": "File", "name": file.stem.replace("_", " "), "encodingFormat": forms[file.suffix]}
    if (path / REPORT["@id"]).is_file():
        yield REPORT
