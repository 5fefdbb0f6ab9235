"""A study's folder described for others as an RO-Crate (Soiland-Reyes et al. 2022; https://w3id.org/ro/crate/1.1)."""

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
FOLDERS = {"journal/": "One checksummed line a run", "series/": "What was kept of each run's series", "inputs/": "Files the study reads"}


def described(folder: "StudyFolder") -> dict[str, Any]:
    """RO-Crate metadata of the folder, JSON-LD; names no person and no machine."""
    study, manifest = folder.study, folder.manifest
    sessions = folder.journal().sessions
    files = [{"@id": name, "@type": "File", "name": says, "encodingFormat": form} for name, (says, form) in FILES.items()]
    parts = [{"@id": name, "@type": "Dataset", "name": says} for name, says in FOLDERS.items() if (folder.path / name).is_dir()]
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
        "hasPart": [{"@id": part["@id"]} for part in (*files, *parts)],
        "mentions": {"@id": "#sweep"},
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
    itself = {
        "@id": "ro-crate-metadata.json",
        "@type": "CreativeWork",
        "about": {"@id": "./"},
        "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
    }
    return {"@context": "https://w3id.org/ro/crate/1.1/context", "@graph": [itself, root, action, software, *files, *parts]}
