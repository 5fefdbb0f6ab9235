"""The report: one page that needs nothing else, the same bytes again, and what failed told on it."""

import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments import report as reports
from experiments.analysis.tables import Analysed
from experiments.designs import points
from experiments.report import inline, shown_table
from experiments.study import Study
from tests.experiments.analysis.tabled import broken, summary

GIVEN = {
    "name": "made-up",
    "question": "How large must a <fund> be & why?",
    "base": "crash",
    "factors": [
        {"name": "fund", "path": "venues.0.clearinghouse.fund", "scale": "log", "low": 1e6, "high": 1e8, "unit": "USD"},
        {"name": "makers", "path": "venues.0.market_makers.count", "scale": "integer", "low": 4, "high": 12},
    ],
    "design": {"type": "factorial", "levels": {"fund": 3, "makers": 2}},
    "replications": 12,
    "burn_in": 24,
    "arms": {"flat": {}, "more": {"venues.0.clearinghouse.capital": 1e6}},
    "outputs": [{"name": "loss", "of": "residual_loss", "over": "sum"}, {"name": "fund_left", "of": "fund", "over": "last"}],
    "analyses": [{"type": "means"}, {"type": "paired", "against": "flat"}, {"type": "convergence"}],
}


class Home:
    """A study's folder in which nobody ran anything."""

    def __init__(self, path):
        self.path = path
        self.study = Study.model_validate(GIVEN)
        self.manifest = {"study": "made-up-1", "source": {"blake2b": "ab12"}, "packages": {"numpy": "2.5"}, "sessions": [{}, {}]}

    def check(self):
        """Nothing has been changed in it."""

    def summary(self):
        def loss(p, arm, r):
            return max(0.0, 3e7 * np.random.default_rng(r).lognormal() - p["fund"] - 1e6 * (arm == "more"))

        of = self.study
        table = summary(points(of), of.replications, of.arms, loss=loss, fund_left=lambda p, _a, r: p["fund"] + r)
        return broken(broken(table, "0-flat-3"), "0-flat-3", "fund_left")

    def describe(self):
        """There is no journal that says anything."""

    def series(self, run_id):
        raise AssertionError("this study keeps no series")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reports, "StudyFolder", Home)
        reports.report(folder)
    return folder


@pytest.fixture(scope="module")
def page(made):
    return (made / "report.html").read_text(encoding="utf-8")


def test_the_same_folder_gives_the_same_bytes_and_old_figures_go(made, tmp_path, monkeypatch):
    monkeypatch.setattr(reports, "StudyFolder", Home)
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "means_gone.png").write_bytes(b"old")
    reports.report(tmp_path)
    names = sorted(path.relative_to(made) for path in made.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert [name for name in names if (made / name).read_bytes() != (tmp_path / name).read_bytes()] == []


def test_every_figure_has_three_formats_and_the_table_it_draws(made):
    names = {path.stem for path in (made / "figures").iterdir()}
    assert names == {f"{kind}_{output}" for kind in ("means", "paired", "convergence") for output in ("loss", "fund_left")}
    assert all((made / "figures" / f"{name}.{kind}").stat().st_size for name in names for kind in ("pdf", "svg", "png", "csv"))


def test_the_page_needs_nothing_else_and_runs_nothing(page):
    class Reader(HTMLParser):
        def __init__(self):
            super().__init__()
            self.tags, self.links = set(), []

        def handle_starttag(self, tag, attrs):
            self.tags.add(tag)
            self.links += [value for name, value in attrs if name in ("src", "href", "xlink:href", "action", "srcset")]

    reader = Reader()
    reader.feed(page)
    assert reader.links
    assert all(link.startswith("#") for link in reader.links)
    assert not {"script", "iframe", "img", "link", "object", "form"} & reader.tags
    assert "default-src 'none'" in page
    assert not re.search(r"@import|url\((?!#)", page)


def test_ids_of_inlined_drawings_do_not_meet(page):
    found = re.findall(r'\bid="([^"]+)"', page)
    assert len(found) == len(set(found)) > 50
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', page)) <= set(found)


def test_the_page_tells_question_burn_in_arms_and_failed_runs(page):
    assert "How large must a &lt;fund&gt; be &amp; why?" in page
    assert "first 24 steps (burn-in) are left out" in page
    assert "venues.0.clearinghouse.capital" in page
    assert "0-flat-3" in page
    assert "step 3: a law does not hold" in page
    assert "Not every run is complete" in page
    assert "4.1 default resources" in page


def test_numbers_on_the_page_have_units_intervals_and_few_digits(made):
    table = shown_table(pd.read_csv(made / "analysis" / "means.csv"), reports.measures(Home(made).study), Home(made).study)
    row = table[(table["fund"] == "$10.0m") & (table["output"] == "loss")].iloc[0]
    assert re.fullmatch(r"\$[\d.]+m \(\$[\d.]+m to \$[\d.]+m\)", row["mean (95 % interval)"])
    failed = table[(table["fund"] == "$1.00m") & (table["arm"] == "flat")].iloc[0]
    assert failed["mean (95 % interval)"] == "–"
    assert (failed["runs"], failed["n"]) == ("12", "11")


def test_tables_are_latex(made):
    text = (made / "tables" / "paired.tex").read_text(encoding="utf-8")
    assert r"\toprule" in text
    assert r"\label{tab:made-up-paired}" in text
    assert r"\$1.00m" in text
    assert "−" not in text
    assert r"difference (95 \% interval)" in text  # a bare % would comment out the rest of the heading


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(codec="ascii", exclude_categories=("Cc",)) | st.sampled_from("&%_$#{}~^\\"), max_size=12))
def test_nothing_in_a_name_means_anything_to_latex(text):
    told = reports._latex(text)
    signs = {r"\textbackslash{}": "\\", r"\textasciitilde{}": "~", r"\textasciicircum{}": "^", **{f"\\{sign}": sign for sign in "&%$#_{}"}}
    read = re.sub("|".join(map(re.escape, signs)), lambda found: signs[found[0]], told)
    assert read == text
    bare = re.sub("|".join(map(re.escape, signs)), "", told)
    assert not set(bare) & set("&%$#_{}~^\\")


def test_inlining_renames_every_reference():
    parts = '<g id="a"/><use xlink:href="#a" style="clip: url(#a)"/><g id="ab"/></svg>'
    svg = f'<?xml?><svg width="86pt" height="20pt"><metadata>x</metadata>{parts}'
    assert str(inline(svg, "f1-")) == (
        '<svg style="width: 10.0rem"><g id="f1-a"/><use xlink:href="#f1-a" style="clip: url(#f1-a)"/><g id="f1-ab"/></svg>'
    )


def test_a_study_without_failures_says_so(made):
    home = Home(made)
    whole = home.summary().assign(status="complete", error="")
    text = reports.rendered(home.study, whole, home.manifest, Analysed(), [])
    assert "None: every run is complete." in text
    assert "Not every run" not in text
    assert "no analysis gave anything to draw" in text
    assert "ab12" in text
