"""Results of papers, reproduced by their own models or looked for in ours."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from scipy.stats import kurtosis

from agents.clearinghouse.deleveraging import DeleveragingView, ProRata, Queue
from experiments.backtest import Procyclicality, from_files
from experiments.validation import avellaneda_stoikov, duffie_zhu, franke_westerhoff, leveraged_funds
from experiments.validation.check import Check, Validation, between
from model.market import Market, MarketParameters


def moment_coverage(full: bool) -> Iterator[Check]:
    """Share of simulated histories whose nine moments all lie in the S&P 500's intervals; three standard errors of 5,000 runs and ours."""
    runs = 6_000 if full else 1_000
    found, _ = franke_westerhoff.joint_coverage(runs, seed=1)
    tolerance = float(3.0 * np.sqrt(0.101 * 0.899 * (1.0 / 5_000 + 1.0 / runs)))
    yield Check(f"joint moment coverage, {runs:,} runs", "Franke & Westerhoff 2012, Table 4", (0.101,), (found,), tolerance)


def market_maker(full: bool) -> Iterator[Check]:
    """Profit, its deviation and inventory's of quoting around inventory and around the price; the published table is of 1,000 paths."""
    paths, rng = (100_000 if full else 1_000), np.random.default_rng(1)
    for symmetric, target in ((False, (65.0, 6.6, 2.9)), (True, (68.4, 12.7, 8.4))):
        found = avellaneda_stoikov.simulate(paths, 0.1, rng, symmetric=symmetric)
        _, deviation, inventory = target
        errors = np.array([deviation, deviation / np.sqrt(2.0), inventory / np.sqrt(2.0)]) * np.sqrt(1.0 / 1_000 + 1.0 / paths)
        # The table has one decimal.
        tolerance = tuple(float(3.0 * error + 0.05) for error in errors)
        name = "symmetric" if symmetric else "inventory"
        yield Check(f"{name} quotes: profit, sd, sd of inventory", "Avellaneda & Stoikov 2008", target, tuple(found), tolerance)


def leverage(full: bool) -> Iterator[Check]:
    """Clearing prices by arithmetic; then kurtosis and tail exponent of returns as the largest leverage rises."""
    everybody, nobody = np.full((1, 10), leveraged_funds.OPENING), np.zeros((1, 10))
    shares, cash = nobody.copy(), nobody.copy()
    shares[0, -1], cash[0, -1] = 10.0, -8.0
    calm = leveraged_funds.clear(np.array([950.0]), nobody, everybody, np.array([1e9]))
    called = leveraged_funds.clear(np.array([880.0]), shares, cash, np.array([5.0]))
    exact, paper = (1500.0 / 1550.0, 840.0 / 950.0), "Thurner, Farmer & Geanakoplos 2012"
    yield Check("prices: ten funds; a margin call", f"{paper} (derived)", exact, (float(calm[0]), float(called[0])), 1e-12)
    most, steps = np.array([1.0, 7.5, 10.0]), (100_000 if full else 20_000)
    returns = leveraged_funds.log_returns(most, steps, np.random.default_rng(1))[500:]
    fat = [float(kurtosis(column, fisher=False)) for column in returns.T]
    tails = [leveraged_funds.hill(-column[column < 0.0]) for column in returns.T]
    target, tolerance = between(2.5, 3.5)
    yield Check("kurtosis at leverage 1: 2.5 to 3.5", paper, (target,), (fat[0],), tolerance)
    target, tolerance = between(8.0, 80.0)
    yield Check("kurtosis at leverage 7.5: above 8", paper, (target,), (fat[1],), tolerance)
    target, tolerance = between(2.5, 4.5)
    yield Check("tail exponent at leverages 7.5, 10: 2.5 to 4.5", paper, (target, target), (tails[1], tails[2]), tolerance)
    yield Check("tail exponent falls with leverage, 1 to 7.5", paper, (1.0,), (float(tails[1] < tails[0]),), 0.0)


def square_root_impact(_full: bool) -> Iterator[Check]:
    """The exponent with which our book's average impact grows with what is liquidated at once, over two and a half decades."""
    sizes, impacts = np.geomspace(30.0, 1e4, 12), []
    for size in sizes:
        one = Market(MarketParameters(pass_through=0.0, price_band=1.0), np.array([100.0]), np.array([1e6]), np.array([0.5]))
        _, price = one.execute(0, -float(size) * 100.0, 1.0)
        impacts.append(1.0 - price / 100.0)
    exponent = float(np.polyfit(np.log(sizes), np.log(impacts), 1)[0])
    target, tolerance = between(0.4, 0.6)
    yield Check(
        "impact of a liquidation at once: exponent",
        "Donier & Bonart 2015 (Bitcoin metaorders)",
        (target,),
        (exponent,),
        tolerance,
        "The square root is the law of orders worked over time into a hidden book; ours are executed at once against measured resting "
        "depth, which grows as distance^0.67, so that impact grows as size^(1 / 0.67).",
    )


def netting(full: bool) -> Iterator[Check]:
    """A dealer's expected exposure, one of twelve: clearing one class centrally helps with three classes and hurts with four."""
    rng = np.random.default_rng(1)
    for classes in (3, 4):
        exact = duffie_zhu.exact(12, classes)
        found = duffie_zhu.simulated(12, classes, 200_000 if full else 100_000, rng)
        yield Check(f"exposure bilateral, cleared: {classes} classes", "Duffie & Zhu 2011", exact, found, 0.01 * exact[0])


WAVES, WINNERS = 16, 1_000
"""Waves of deleveraging on 10 October 2025, and winners drawn for each."""
NEEDED = 15.08e6 / WAVES
"""USD that a wave had to raise (Chitra 2026, third version: 15.08 m in all)."""


def deleveraging_order(_full: bool) -> Iterator[Check]:
    """How much of the most burdened winner's equity goes, by rule, in waves like those of 10 October 2025: the queue takes most.

    Winners are drawn from what was published of them: notional log-normal with parameters 6.57 and 2.71 of its logarithm, leverage
    log-normal about a median of 0.2, gain on the entry price log-normal about a median of 0.5; equity is at least the profit. A wave
    closes a tenth of all contracts and raises what it needs, or a tenth of all profits if that is less. Medians over waves; levels would
    need the accounts themselves.
    """
    rules = (Queue(Queue.Parameters(score="hyperliquid")), ProRata(), ProRata(ProRata.Parameters(by="equity")))
    rng, burdens = np.random.default_rng(1), np.zeros((WAVES, len(rules)))
    for wave in range(WAVES):
        size = rng.lognormal(6.57, 2.71, WINNERS)
        gain = rng.lognormal(np.log(0.5), 0.8, WINNERS)
        equity, profit = size / (0.2 * rng.lognormal(0.0, 1.0, WINNERS)), size * gain / (1.0 + gain)
        equity = np.maximum(equity, profit)
        raised = min(NEEDED, 0.1 * profit.sum())
        contracts = 0.1 * size.sum()
        a_contract = raised / contracts
        room = np.minimum(size, profit / a_contract)
        view = DeleveragingView(contracts, room, size, profit, equity, 0.02 * size, 1.0, 1.0 / (1.0 + gain), long=True)
        burdens[wave] = [float((rule.rule(view, None, None)[0] * a_contract / equity).max()) for rule in rules]
    queue, by_contracts, by_equity = np.median(burdens, axis=0)
    yield Check(
        "largest haircut: queue > pro rata by contracts > by equity",
        "Chitra 2025-26, waves of 10 October 2025",
        (1.0,),
        (float(queue > by_contracts > by_equity),),
        0.0,
    )


def not_shipped(_full: bool) -> Iterator[Check]:
    """Published results that rest on data which are not ours to ship."""
    banks = "Needs the balance sheets of 48 banks of the EBA's transparency exercise of 2018; the rules are checked on Cont & Schaanning's."
    yield Check("fire sales: threshold against leverage targeting", "Farmer et al. 2020", (0.917,), (), 0.0, skipped=banks)
    houses = "Needs the quantitative disclosures of 77 clearing houses, 2015 to 2020, from which margin and funds would be calibrated."
    yield Check("a fund's annual breach probability; Cover-2 gap", "Paddrik & Young 2021", (0.065, 0.005, 2.5), (), 0.0, skipped=houses)


PRICES: Final = (
    ("S&P 500", "sp500_1d.csv", ""),
    (
        "Bitcoin",
        "btcusdt_1d.csv",
        "The order was found on equities. On Bitcoin a memory of weeks follows volatility further up and down than a year of history does.",
    ),
)
"""Daily prices on which margin rules are compared: whose, file, why what was published for equities need not be found there."""


def procyclicality(_full: bool) -> Iterator[Check]:
    """Peak-to-trough of four margin rules over the same daily prices: the published order, and what holds whatever prices are."""
    paper, folder = "Murphy, Vasios & Vause 2014 (S&P 500)", Path(os.environ.get("BACKSTOP_DATA", "."))
    there = [(name, folder / file, why) for name, file, why in PRICES if (folder / file).is_file()]
    target = tuple(ratio for _, ratio in Procyclicality.published)
    for name, file, why in there:
        measured = Procyclicality.on(from_files([str(file)], [name]))
        found, tolerance = tuple(measured.found.values()), tuple(0.25 * ratio for ratio in target)
        what = f"peak-to-trough of margin, {name}"
        yield Check(f"{what}: {', '.join(measured.found)}", paper, target, found, tolerance, why)
        yield Check(f"{what}: in that order", paper, (1.0,), (float(measured.in_published_order),), 0.0, why)
        least = float(measured.found["floored ewma"] <= measured.found["ewma"])
        yield Check(f"{what}: no more with a constant floor than without", "exact", (1.0,), (least,), 0.0)
    if not there:
        missing = f"Set BACKSTOP_DATA to a folder that holds {' or '.join(file for _, file, _ in PRICES)}: open, high, low and close a day."
        yield Check("peak-to-trough of margin", paper, target, (), 0.0, skipped=missing)


VALIDATIONS: Final = (
    Validation("moment_coverage", moment_coverage),
    Validation("market_maker", market_maker),
    Validation("leverage", leverage),
    Validation("square_root_impact", square_root_impact),
    Validation("netting", netting),
    Validation("deleveraging_order", deleveraging_order),
    Validation("procyclicality", procyclicality),
    Validation("not_shipped", not_shipped),
)
