"""Figures: the files are there, the same run gives the same bytes, and the tables behind them add up to the run."""

import re
import warnings

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from experiments.drawing import POINTS, save, style, thin, usd
from experiments.figures import NO_DEFICIT, draw, fund, network, prices, who_paid
from experiments.runner import Run
from model.ledger import Flow
from model.scenario import Scenario

LAYERS = ("fund", "exchange_capital", "deleveraging", "socialised_loss", "write_down")
NAMES = ("prices", "fund", "who_paid", "network")
FILES = {f"{name}.{kind}" for name in NAMES for kind in ("pdf", "svg", "png", "csv")} | {"network_nodes.csv"}


def invented_run(steps=48, assets=("BTC", "ETH", "ALT"), hours_per_step=1.0, deficits=True, institutions=True):
    """A run nobody simulated; with deficits, every layer pays in the one step in the middle."""
    world = Scenario()
    chosen = tuple(world.assets[0].model_copy(update={"name": name}) for name in assets)
    world = world.model_copy(update={"name": "invented", "assets": chosen, "hours_per_step": hours_per_step, "steps": steps})
    rng, at = np.random.default_rng(3), np.arange(steps + 1)
    hit = np.where(at == (steps + 1) // 2, 1.0, 0.0) * deficits
    series = pd.DataFrame({"step": at, "hours": at * hours_per_step})
    for name in assets:
        series[f"index_{name}"] = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.01, steps + 1)))
        series[f"open_interest_{name}"] = rng.uniform(1e8, 2e8, steps + 1)
    series["liquidated"] = 1e7 * hit
    for size, layer in enumerate(LAYERS, start=1):
        series[f"absorbed_{layer}"] = 1e6 * size * hit
    series["fund"], series["fund_target"], series["adequacy"] = 2e7, 2.5e7, 0.8
    series["defaults"], series["insolvent"] = 2.0 * hit, np.maximum.accumulate(hit)
    parts = {Flow.TRADING_FEE: np.full(steps, 1e4), Flow.DRAW_TAKEOVER: -1e6 * hit[1:], Flow.INVENTORY_RESULT: rng.normal(0, 1e3, steps)}
    flows = [
        pd.DataFrame({"step": at[1:], "hours": at[1:] * hours_per_step, "flow": kind.value, "amount": usd}) for kind, usd in parts.items()
    ]
    kinds = ["exchange", "lender", "lender", "market_maker", "liquidator", "large_trader", "somebody_else"]
    sheets = pd.DataFrame({"node": [f"n{i}" for i in range(7)], "kind": kinds, "assets": [9e7, 0.0, 5e7, 2e7, 1e7, 1e6, -1.0]})
    sheets = sheets.assign(status=["defaulted", "active", "defaulted", *["active"] * 4], wave=[1, -1, 2, *[-1] * 4])
    edges = pd.DataFrame({"source": ["n0", "n3", "n4"], "target": ["n3", "n1", "n2"], "amount": [3e6, 2e6, 0.0]})
    keep = len(sheets) if institutions else 0
    return Run(world, 11, series, pd.DataFrame(), pd.concat(flows, ignore_index=True), sheets.head(keep), edges.head(keep), 0.0)


def texts(figure):
    return " | ".join(text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")) if text.get_text())


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return draw(invented_run(), tmp_path_factory.mktemp("plain") / "new" / "folder")


def render(run):
    """Draws without writing; a warning is an error."""
    with warnings.catch_warnings(), style():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("error", RuntimeWarning)
        for make in (prices, fund, who_paid, network):
            make(run)[0].draw_without_rendering()


def test_every_figure_is_written_in_three_formats_with_its_tables(plain):
    assert {path.name for path in plain} == FILES
    assert {path.name for path in plain[0].parent.iterdir()} == FILES
    assert all(path.stat().st_size > 0 for path in plain)


def test_the_same_run_gives_the_same_bytes_whatever_the_users_settings(plain, tmp_path):
    with mpl.rc_context({"font.size": 20, "axes.grid": True, "savefig.bbox": "tight"}):
        dressed = draw(invented_run(), tmp_path)
        assert mpl.rcParams["font.size"] == 20
    assert [path.name for path, again in zip(plain, dressed, strict=True) if path.read_bytes() != again.read_bytes()] == []


def test_files_carry_no_date(plain):
    assert not [path.name for path in plain if re.search(rb"CreationDate|<dc:date>|tIME", path.read_bytes())]


@pytest.mark.parametrize("hours_per_step", [0.1, 1.0, 5.0, 24.0])
@pytest.mark.parametrize("steps", [1, 48, 1000])
def test_binned_flows_add_up_to_the_statement_flow_by_flow(steps, hours_per_step):
    run = invented_run(steps, hours_per_step=hours_per_step)
    table = fund(run)[1][""]
    drawn = table[table["quantity"] == "flow"]
    totals = drawn.groupby("item")["value"].sum()
    assert totals.to_dict() == pytest.approx(run.statement.groupby("flow")["amount"].sum().to_dict(), rel=1e-12)
    assert len(drawn) / drawn["item"].nunique() <= 72
    assert drawn["to_hours"].max() == pytest.approx(steps * hours_per_step)


def test_each_flow_is_in_the_bar_of_its_step():
    # 1,000 hourly steps in bars of 24 h: the takeover in step 500 ends at hour 500, which is in (480, 504].
    table = fund(invented_run(1000))[1][""]
    drawn = table[(table["item"] == Flow.DRAW_TAKEOVER) & (table["value"] != 0)]
    assert drawn[["from_hours", "to_hours", "value"]].to_numpy().tolist() == [[480.0, 504.0, -1e6]]


def test_indices_open_at_100_and_liquidations_add_up():
    run = invented_run()
    table = prices(run)[1][""]
    opening = table[(table["quantity"] == "index") & (table["from_hours"] == 0)]
    assert opening["value"].tolist() == pytest.approx([100.0] * 3)
    assert table.loc[table["quantity"] == "liquidated", "value"].sum() == pytest.approx(run.series["liquidated"].sum())


def test_layers_stand_in_waterfall_order_with_their_shares():
    # 1 + 2 + 3 + 4 + 5 = 15 USD m in one step: the worst day is the whole loss, the fund's share 1/15.
    figure, tables = who_paid(invented_run())
    table = tables[""]
    assert table["layer"].tolist() == [*LAYERS, *LAYERS]
    assert table["usd"].tolist() == [1e6, 2e6, 3e6, 4e6, 5e6] * 2
    assert table["share"].tolist() == pytest.approx([k / 15 for k in (1, 2, 3, 4, 5)] * 2)
    assert "$15.0m" in texts(figure)
    assert NO_DEFICIT not in texts(figure)


def test_the_worst_day_is_the_24_hours_with_the_largest_loss():
    # Losses of 4 at hour 10, 3 at hour 40 and 2 at hour 60: hours 36 to 60 hold 5, more than any other 24.
    run = invented_run(72, deficits=False)
    run.series.loc[[10, 40, 60], "absorbed_fund"] = [4.0, 3.0, 2.0]
    worst = who_paid(run)[1][""].query("period == 'worst_day' and layer == 'fund'").iloc[0]
    assert (worst["usd"], worst["from_hours"], worst["to_hours"]) == (5.0, 36.0, 60.0)


def test_a_scenario_with_its_own_order_is_drawn_in_it():
    run = invented_run()
    venue = run.scenario.venues[0]
    turned = (venue.clearinghouse.waterfall[1], venue.clearinghouse.waterfall[0], *venue.clearinghouse.waterfall[2:])
    house = venue.clearinghouse.model_copy(update={"waterfall": turned})
    world = run.scenario.model_copy(update={"venues": (venue.model_copy(update={"clearinghouse": house}),)})
    other = Run(world, 11, run.series, run.events, run.statement, run.balance_sheets, run.edges, 0.0)
    assert who_paid(other)[1][""]["layer"].tolist()[:3] == ["exchange_capital", "fund", "deleveraging"]


def test_a_run_without_deficits_says_so(tmp_path):
    figure, tables = who_paid(invented_run(deficits=False))
    assert not tables[""]["usd"].any()
    assert not tables[""]["share"].any()
    save((figure, tables), tmp_path, "who_paid")
    assert NO_DEFICIT in (tmp_path / "who_paid.svg").read_text(encoding="utf-8")


def test_defaulters_carry_the_number_of_their_wave():
    figure, tables = network(invented_run())
    found = [text.get_text() for text in figure.axes[0].texts]
    assert sorted(found) == ["1", "2"]
    assert "in default (2)" in figure.axes[0].get_legend().get_texts()[6].get_text()
    nodes = tables["_nodes"].set_index("node")
    assert tuple(nodes.loc["n0", ["x", "y"]]) == (0.0, 0.0)
    assert tables[""]["amount"].sum() == 5e6


@pytest.mark.parametrize(
    "shape",
    [
        {"assets": ("BTC",)},
        {"assets": tuple(f"A{i}" for i in range(9))},
        {"steps": 1},
        {"steps": 1, "assets": ("BTC",), "deficits": False, "institutions": False},
        {"steps": 3, "hours_per_step": 24.0},
    ],
)
def test_small_and_odd_runs_are_drawn_without_a_warning(shape):
    render(invented_run(**shape))


def test_a_run_of_zeros_and_gaps_is_drawn_without_a_warning():
    run = invented_run(deficits=False)
    run.series.loc[:, "fund":"adequacy"] = 0.0
    run.series["adequacy"] = np.where(run.series["step"] % 2, np.nan, np.inf)
    run.series["index_ALT"] = 0.0
    run.series.loc[5:, "index_BTC"] = 0.0
    run = Run(run.scenario, 11, run.series, run.events, run.statement.iloc[:0], run.balance_sheets, run.edges.iloc[:0].astype(object), 0.0)
    render(run)
    assert "no inflows in this run" in texts(fund(run)[0])


def test_titles_name_scenario_and_seed():
    for figure in (make(invented_run())[0] for make in (prices, fund, who_paid, network)):
        assert figure.get_suptitle().startswith("invented, seed 11: ")


def test_thinned_lines_keep_their_extremes_and_their_ends():
    values = np.random.default_rng(1).normal(size=43_801)
    values[20_000], values[30_001], values[100:200] = 50.0, -50.0, np.nan
    kept = thin(values)
    assert kept.size <= POINTS + 2
    assert {0, 20_000, 30_001, 43_800} <= set(kept.tolist())
    assert (np.diff(kept) > 0).all()


@pytest.mark.parametrize(
    ("amount", "said"), [(0.0, "$0"), (4.0, "$4.00"), (12_345.0, "$12.3k"), (-2.5e6, "−$2.50m"), (123e6, "$123m"), (4.56e9, "$4.56bn")]
)
def test_money_has_three_digits_and_a_unit(amount, said):
    assert usd(amount) == said
