"""The report of a study: figures, tables and one HTML page that needs nothing else, all rendered again to the same bytes.

The page holds no script and refers to nothing outside itself; its policy for browsers says so (Content-Security-Policy).
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from experiments import drawing as d
from experiments.analysis.tables import Analysed, analyse, measures
from experiments.report_figures import figures
from experiments.study_store import StudyFolder

if TYPE_CHECKING:
    from experiments.analysis.blocks import Measure
    from experiments.study import Study

ROWS: Final = 60
"""Rows of a table shown on the page; the CSV holds all."""
FAILED: Final = 50
"""Failed runs told one by one on the page."""

TITLES: Final = {
    "means": "Means and probabilities",
    "tails": "Quantiles and expected shortfall",
    "paired": "Paired policy differences",
    "convergence": "Convergence against replications",
    "opening_burn_in": "Sensitivity to burn-in",
    "opening_lever": "Sensitivity to the opening state",
    "sobol": "Sobol indices",
    "morris": "Elementary effects (Morris)",
    "pawn": "PAWN indices",
    "rbd_fast": "First-order indices (RBD-FAST)",
    "prim": "Scenario discovery (PRIM)",
}
DISCLOSURES: Final = {
    "fund": "4.1 default resources",
    "treasury": "4.1 default resources (own capital)",
    "fund_target": "4.4 stress exposures (what resources are sized to)",
    "deficits": "6.5 back-testing (size of what margin did not cover)",
    "bankruptcies": "6.5 back-testing (times margin did not cover)",
    "members_fund": "4.1 default resources (participants' contributions)",
    "initial_margin": "6.1 initial margin",
    "margin_breaches": "6.5 back-testing (times initial margin did not cover)",
    "uncovered": "6.5 back-testing (size of what initial margin did not cover)",
    "uncovered_largest": "6.5 back-testing (size of what initial margin did not cover, largest)",
    "variation_margin": "6.6 variation margin paid",
    "position_concentration": "18.2 concentration of positions",
    "margin_concentration": "18.3 concentration of initial margin",
}
"""The nearest section of CPMI-IOSCO's public quantitative disclosure standards (2015), by observable; the mapping is ours."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A figure on the page."""

    name: str
    caption: str
    svg: Markup


def report(folder: Path) -> tuple[Path, Analysed]:
    """Analyses a study's folder, writes `analysis/`, `figures/`, `tables/` and `report.html`; the page, and what was analysed.

    Raises:
        ScenarioError: not a study's folder.
    """
    home = StudyFolder(folder)
    study, summary = home.study, home.summary()
    done = analysed(home)
    shown = drawn(study, measures(study), done.tables, folder / "figures")
    for name, table in done.tables.items():
        write_tables(table, folder / "tables", name, measures(study), study)
    page = folder / "report.html"
    page.write_text(rendered(study, summary, home.manifest, done, shown), encoding="utf-8", newline="\n")
    home.describe()
    return page, done


def analysed(home: StudyFolder) -> Analysed:
    """A folder's analyses, written to `analysis/` as CSV; what an earlier analysis left there goes."""
    home.check()
    study = home.study
    done = analyse(study, home.summary(), home.series if study.series == "full" else None)
    place = _emptied(home.path / "analysis", ("csv", "txt"))
    for name, table in done.tables.items():
        table.to_csv(place / f"{name}.csv", index=False, lineterminator="\n")
    if done.refused:
        (place / "refused.txt").write_text("".join(f"{line}\n" for line in done.refused), encoding="utf-8", newline="\n")
    home.describe()
    return done


def drawn(study: "Study", given: "Sequence[Measure]", tables: Mapping[str, pd.DataFrame], folder: Path) -> list[Shown]:
    """Every figure, saved in three formats with its table, and its SVG for the page."""
    place = _emptied(folder, (*d.FORMATS, "csv"))
    shown = []
    with d.style():
        for at, (name, caption, drawing) in enumerate(figures(study, given, tables)):
            d.save(drawing, place, name)
            shown.append(Shown(name, caption, inline((place / f"{name}.svg").read_text(encoding="utf-8"), f"f{at}-")))
    return shown


def inline(svg: str, prefix: str) -> Markup:
    """An SVG file as an element of a page: no prologue, ids of its own, no link to anywhere."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    for name in sorted(set(re.findall(r'\bid="([^"]+)"', body)), key=len, reverse=True):
        escaped = re.escape(name)
        body = re.sub(rf'(\bid="|href="#|url\(#){escaped}(?=["\)])', rf"\g<1>{prefix}{name}", body)
    width = re.search(r'<svg[^>]*?\bwidth="([\d.]+)pt"', body)
    if width:  # letters of 7 points on paper are read at arm's length on a screen
        body = re.sub(r' width="[\d.]+pt"', f' style="width: {float(width[1]) / 8.6:.1f}rem"', body, count=1)
        body = re.sub(r' height="[\d.]+pt"', "", body, count=1)
    return Markup(body)  # noqa: S704 - our own drawing, its texts escaped by matplotlib


def rendered(study: "Study", summary: pd.DataFrame, manifest: Mapping[str, Any], done: Analysed, shown: Sequence[Shown]) -> str:
    """The page. Equal arguments give equal text."""
    engine = Environment(
        loader=PackageLoader("experiments", "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    bad = summary[summary["status"] != "complete"].drop_duplicates("run_id")
    given = measures(study)
    return engine.get_template("report.html").render(
        study=study,
        runs=_counts(study, summary),
        factors=list(_factors(study)),
        arms=[
            (name, ", ".join(f"{path} = {_plain(value)}" for path, value in settings.items()) or "as the base")
            for name, settings in study.arms.items()
        ],
        settings=[(path, _plain(value)) for path, value in study.common.items()],
        design=", ".join(f"{name} {_plain(value)}" for name, value in study.design.model_dump(mode="json").items() if name != "type"),
        outputs=[(d.words(o.name), o.of, o.over, m.unit, DISCLOSURES.get(o.of)) for o, m in zip(study.outputs, given, strict=True)],
        shown=shown,
        tables=[(name, titled(name), *_page_table(table, given, study)) for name, table in done.tables.items()],
        refused=done.refused,
        failed=bad.head(FAILED).to_dict("records"),
        more_failed=max(0, len(bad) - FAILED),
        manifest=list(_manifest(manifest)),
    )


def titled(name: str) -> str:
    """What a table is called on the page and in its caption; a composition by its own name."""
    return TITLES.get(name, d.words(name.removeprefix("composition_")).capitalize())


def write_tables(table: pd.DataFrame, folder: Path, name: str, given: "Sequence[Measure]", study: "Study") -> None:
    """A table for a paper: LaTeX with the digits shown, and CSV with all."""
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
    shown = shown_table(table, given, study)
    styled = shown.style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis="columns")
    styled.to_latex(
        folder / f"{name}.tex",
        hrules=True,
        caption=_latex(f"{study.name}: {titled(name).lower()}"),
        label=f"tab:{study.name}-{name}",
        environment="longtable" if len(shown) > ROWS else None,
        encoding="utf-8",
    )
    _plain_minus(folder / f"{name}.tex")


def _plain_minus(path: Path) -> None:
    """LaTeX has a minus of its own, and knows none other."""
    path.write_text(path.read_text(encoding="utf-8").replace("−", "$-$"), encoding="utf-8", newline="\n")


def shown_table(table: pd.DataFrame, given: "Sequence[Measure]", study: "Study") -> pd.DataFrame:
    """A tidy table as people read it: estimate and interval in one cell, money in units, few digits, no columns that repeat themselves."""
    if "share" in table:
        return _side_by_side(table, study)
    units = {measure.name: measure.unit for measure in given}
    factors = {factor.name: factor for factor in study.factors}
    estimate = next((name for name in _ESTIMATES if name in table), None)
    has_interval = estimate is not None and {"low", "high"} <= set(table)
    columns: dict[str, list[str]] = {}
    for name in table:
        if name in ("unit", "point", "against") or (has_interval and name in ("low", "high")):
            continue
        unit_of = [units.get(str(output), "") if name in _IN_UNITS else "" for output in table.get("output", pd.Series([""] * len(table)))]
        if "unit" in table and name in _IN_UNITS:
            unit_of = [str(unit) for unit in table["unit"]]
        if name in factors:
            unit_of = [factors[name].unit if factors[name].scale != "choice" else ""] * len(table)
        cells = [_cell(value, unit) for value, unit in zip(table[name], unit_of, strict=True)]
        if has_interval and name == estimate:
            lows, highs = ([_cell(value, unit) for value, unit in zip(table[end], unit_of, strict=True)] for end in ("low", "high"))
            known = table["low"].notna().tolist()
            cells = [f"{cell} ({low} to {high})" if ok else cell for cell, low, high, ok in zip(cells, lows, highs, known, strict=True)]
        columns[d.words(str(name)) + (" (95 % interval)" if has_interval and name == estimate else "")] = cells
    return pd.DataFrame(columns)


def _side_by_side(table: pd.DataFrame, study: "Study") -> pd.DataFrame:
    """A composition: a row a point and arm, a column a part that is anywhere, and last the whole with its interval."""
    order = [name for name in dict.fromkeys(table["output"]) if table.loc[table["output"] == name, "mean"].ne(0.0).any()]
    whole = str(table["output"].iloc[-1])
    rows = []
    for (_, arm), cell in table.groupby(["point", "arm"], sort=False):
        told = {str(row["output"]): row for row in cell.to_dict("records")}
        named = {d.words(f.name): _cell(cell[f.name].iloc[0], f.unit if f.scale != "choice" else "") for f in study.factors}
        parts = {d.words(name): _cell(told[name]["mean"], told[name]["unit"]) for name in order if name != whole}
        end = told[whole]
        total = _cell(end["mean"], end["unit"])
        if math.isfinite(end["low"]):
            total += f" ({_cell(end['low'], end['unit'])} to {_cell(end['high'], end['unit'])})"
        rows.append({**named, "arm": str(arm), "n": str(end["n"]), **parts, f"{d.words(whole)} (95 % interval)": total})
    return pd.DataFrame(rows)


_ESTIMATES: Final = ("difference", "expected_shortfall", "mu_star", "index", "mean")
_IN_UNITS: Final = {"mean", "difference", "sd", "half_width", "quantile", "expected_shortfall", "mu", "mu_star", "sigma", "low", "high"}


def _page_table(table: pd.DataFrame, given: "Sequence[Measure]", study: "Study") -> tuple[list[str], list[list[str]], int]:
    """Heads, the first rows and how many are left."""
    told = shown_table(table, given, study)
    return list(told.columns), told.head(ROWS).to_numpy().tolist(), max(0, len(told) - ROWS)


def _cell(value: Any, unit: str) -> str:
    """A value with the digits a person can use."""
    if isinstance(value, str):
        return d.words(value) if re.fullmatch(r"[a-z_]+", value) else value
    if value is None or (isinstance(value, float | np.floating) and not np.isfinite(value)):
        return "–"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return d.usd(float(value)) if unit.startswith("USD") else f"{value:,}"
    number = float(value)
    if unit.startswith("USD"):
        return d.usd(number)
    return f"{number:.3g}".replace("-", "−") if abs(number) < 1000 else f"{number:,.0f}".replace("-", "−")


def _counts(study: "Study", summary: pd.DataFrame) -> dict[str, Any]:
    """How many points, arms, replications, runs; how they ended."""
    once = summary.drop_duplicates("run_id")
    status = once["status"].value_counts()
    return {
        "points": int(summary["point"].nunique()),
        "arms": len(study.arms),
        "replications": study.replications,
        "rows": len(summary),
        "runs": len(once),
        **{name: int(status.get(name, 0)) for name in ("complete", "failed", "missing")},
    }


def _factors(study: "Study") -> Iterator[tuple[str, str, str, str]]:
    """Name, path, scale, range."""
    for factor in study.factors:
        if factor.scale == "choice":
            yield d.words(factor.name), factor.path, "choice", ", ".join(factor.labels)
            continue
        low, high = (_cell(value, factor.unit) for value in factor.range)
        unit = "" if factor.unit in ("", "USD", "1") else f" {factor.unit}"
        yield d.words(factor.name), factor.path, factor.scale, f"{low} to {high}{unit}"


def _manifest(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The manifest line by line, nested names dotted; sessions are counted, not listed."""
    for name, value in manifest.items():
        if name == "sessions":
            yield "sessions", f"{len(value)}"
        elif isinstance(value, Mapping) and value and name != "packages":
            yield from ((f"{name}.{inner}", _plain(part)) for inner, part in value.items())
        elif name == "packages" and isinstance(value, Mapping):
            yield name, ", ".join(f"{package} {version}" for package, version in value.items())
        else:
            yield name, _plain(value)


def _plain(value: Any) -> str:
    """A setting in one line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(part)}" for name, part in value.items())
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return f"{value:g}" if isinstance(value, float) else str(value)
    return json.dumps(value, ensure_ascii=False)


def _latex(text: str) -> str:
    """Text as LaTeX sets it, none of its signs a command."""
    return re.sub(r"[\\~^&%$#_{}]", lambda sign: _SIGNS.get(sign[0], f"\\{sign[0]}"), text)


_SIGNS: Final = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}


def _emptied(folder: Path, suffixes: Sequence[str]) -> Path:
    """The folder without files of these kinds, made if missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.suffix[1:] in suffixes:
            path.unlink()
    return folder
