"""Every output of a step: its name, unit, definition, and how it aggregates over steps."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from agents.clearinghouse.pools import Pools
from agents.clock import HOURS_PER_YEAR
from model.channels import PAID_FOR
from model.contagion.measures import amplification
from model.deferred import withheld
from model.haircuts import NOTHING
from model.ledger import DRAWS, LEVIES, Flow, Status
from model.levies import open_interest_levies
from model.sharing import ALL

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from model.marketplace import Marketplace
    from model.scenario import Scenario
    from model.venue import Venue

    type Floats = NDArray[np.float64]

type Aggregate = Literal["last", "sum", "mean", "max"]
type Table = tuple[tuple[str, str, str, Aggregate], ...]
"""Name, unit, definition and aggregate of some outputs."""


@dataclass(frozen=True, slots=True)
class Observable:
    """An output. `aggregate` says what to do with its values over several steps."""

    name: str
    unit: str
    definition: str
    aggregate: Aggregate


_PER_MARKET: Final[Table] = (
    ("index", "USD", "index price", "last"),
    ("mark", "USD", "mark price", "last"),
    ("premium", "1", "averaged premium of the book over the index, or over a dated contract's fair price, share of the index", "mean"),
    ("volatility", "annualised", "volatility as the exchange measures it, exponentially weighted over about a week", "mean"),
    ("depth", "USD", "depth within ten basis points, mean of both sides", "mean"),
    ("spread", "1", "cost of buying and selling 100,000 USD on the book as quoted, over that amount; without quotes the band", "mean"),
    ("open_interest", "USD", "open interest, one side, at mark", "last"),
    ("funding", "annualised", "funding rate that longs pay", "mean"),
)

PARTIAL: Final = (
    *("amplification", "branching_ratio", "adequacy", "ptsr", "pmr", "overshoot", "haircut_gini", "haircut_top_share"),
    *("position_concentration", "margin_concentration"),
)
"""Outputs, and those by pool whose names begin with them, that are not defined in every step: not a number there."""

LAYERS: Final = (
    "defaulter_contribution",
    "vault",
    "fund",
    "exchange_capital",
    "stakers",
    "members_fund",
    "second_skin",
    "assessment",
    "deleveraging",
    "socialised_loss",
    "tear_up",
    "withdrawal_factor",
    "clawback",
    "write_down",
)
"""The layers of the waterfall that ship, in their usual order."""

_TOTALS: Final[Table] = (
    ("open_interest", "USD", "open interest of all markets, one side", "last"),
    ("volume", "USD", "notional traded by orders", "sum"),
    ("fees", "USD", "trading fees charged, rebates deducted", "sum"),
    ("levies", "USD", "paid to the fund beyond trading fees, on open interest, volume and funding received; liquidations apart", "sum"),
    ("levy_rate", "annualised", "levy on open positions in the coming step, share of notional, weighted by open interest", "mean"),
    ("fund", "USD", "the backstop fund, its inventory at mark", "last"),
    ("fund_target", "USD", "what the sizing rule asks for", "last"),
    ("adequacy", "1", "fund over target; not a number where the target is 0", "last"),
    ("treasury", "USD", "the exchange's own capital", "last"),
    ("trader_equity", "USD", "traders' balances", "last"),
    ("maker_equity", "USD", "market makers' balances", "last"),
    ("liquidator_equity", "USD", "liquidators' balances", "last"),
    ("vault", "USD", "the backstop vault's balance", "last"),
    ("lender_equity", "USD", "lenders' equity", "last"),
    ("custody", "USD", "cash that backs all balances", "last"),
    ("leverage", "1", "traders' gross notional over their equity", "mean"),
    ("liquidated", "USD", "notional liquidated by book, liquidators and takeover", "sum"),
    ("liquidations", "accounts", "accounts liquidated, counted once a round", "sum"),
    ("takeovers", "USD", "notional taken over by the fund, at mark", "sum"),
    ("deleveraged", "USD", "notional closed against the other side, at bankruptcy price or mark", "sum"),
    ("ptsr", "1", "largest profit left to a winner over the loss that winners were asked for; not a number without deleveraging", "mean"),
    ("pmr", "1", "largest profit left to a winner over the largest loss of a bankrupt account; not a number without deleveraging", "mean"),
    ("overshoot", "USD", "what winners gave beyond what the layers before could not pay; not a number without deleveraging", "sum"),
    ("haircut_gini", "1", "Gini coefficient of what winners gave; not a number where nobody did", "mean"),
    ("haircut_top_share", "1", "part of it that one winner gave; not a number where nobody did", "mean"),
    ("bounties", "USD", "liquidation fees that liquidators were paid for what they took", "sum"),
    ("surplus", "USD", "what liquidations left beyond bankruptcy price", "sum"),
    ("deficits", "USD", "losses beyond an account's equity when contracts leave it", "sum"),
    ("residual_loss", "USD", "deficits beyond the fund and what stands before it; above 0 is a breach", "sum"),
    *((f"absorbed_{layer}", "USD", f"deficits borne by layer `{layer}`", "sum") for layer in LAYERS),
    ("members_fund", "USD", "clearing members' contributions to their default fund", "last"),
    ("outstanding", "USD", "losses that account holders are yet to bear, when they withdraw or at the end of the week", "last"),
    ("withdrawal_factor", "1", "part of withdrawals that is kept while losses are outstanding", "last"),
    ("lost_hedges", "USD", "spot sold by hedgers whose contracts were deleveraged", "sum"),
    ("bankruptcies", "accounts", "accounts that left a deficit", "sum"),
    ("margin_calls", "accounts", "accounts that sold spot on a margin call", "sum"),
    ("defaults", "institutions", "market makers, liquidators, lenders and exchanges newly in default", "sum"),
    ("contagious_defaults", "institutions", "those among them that would not have failed alone", "sum"),
    ("default_waves", "waves", "waves of default", "max"),
    ("network_loss", "USD", "what creditors of defaulters lost", "sum"),
    ("network_reserve", "USD", "what they got beyond all that defaulters had, from the reserve", "sum"),
    ("network_margin", "USD", "what they drew of margin that they held", "sum"),
    ("passed_on", "USD", "deficits and what creditors of defaulters lost, less what the outside paid: as often as it was passed on", "sum"),
    ("estates", "USD", "what estates of defaulters are yet to pay lenders", "last"),
    ("borrowed", "USD", "what market makers and liquidators owe lenders", "last"),
    ("lines_withdrawn", "lenders", "lenders that have withdrawn their lines", "last"),
    ("active_traders", "participants", "traders that are neither bankrupt nor gone", "last"),
    ("deposits", "USD", "paid in by traders", "sum"),
    ("withdrawals", "USD", "taken out by account holders", "sum"),
    ("confidence", "1", "traders' readiness to pay in", "mean"),
    ("activity", "1", "what the cost of a trade leaves of traders' activity: a factor, 1 at the reference cost", "mean"),
    ("appetite", "1", "what levies and margin leave of leverage: a factor, mean over groups by deposits, 1 at the reference cost", "mean"),
    ("rounds", "rounds", "rounds of liquidation", "sum"),
    ("unfinished", "increments", "increments in which the round cap, a speed limit or a cool-down bound; the rest carried on", "sum"),
    ("halted", "h", "time in which the exchange stood still and liquidated nobody", "sum"),
    ("insolvent", "0/1", "whether claims on the exchange have been written down", "max"),
    ("bankruptcy_costs", "USD", "what claims on the exchange lost to the costs of its bankruptcy", "sum"),
    ("run", "USD", "withdrawn by traders who fear for the exchange", "sum"),
    ("run_fear", "1", "how much they fear, 0 to 1; 0 once it has failed", "max"),
)


_PER_POOL: Final[Table] = (
    ("fund_pool", "USD", "one pool of the backstop fund, its inventory at mark", "last"),
    ("fund_target_pool", "USD", "what the sizing rule asks for in the pool", "last"),
    ("adequacy_pool", "1", "the pool over its target; not a number where the target is 0", "last"),
    ("drawn_pool", "USD", "deficits borne by the pool", "sum"),
)


_RESCUES: Final[Table] = (
    ("rescued", "USD", "paid by the outside in place of others, because channels of contagion are closed", "sum"),
    *((f"rescued_{channel}", "USD", f"the part of it that is due to channel `{channel}`", "sum") for channel in PAID_FOR),
    ("absorbed_rescue", "USD", "deficits borne by the outside because channels are closed", "sum"),
    ("outside_result", "USD", "what the outside earned on contracts that it took over because channels are closed", "sum"),
)


_ACTIONS: Final[Table] = (
    ("levy_factor", "1", "factor on levies because the fund is short of its target", "mean"),
    ("margin_factor", "1", "factor on initial margin because the fund is short of its target", "mean"),
    ("recapitalised", "USD", "paid into the fund by the exchange's owners because it is short of its target", "sum"),
    ("capped", "0/1", "whether orders may only reduce positions in the coming step", "mean"),
    ("suspended", "0/1", "whether no orders are taken in the coming step", "mean"),
)


_TOKEN: Final[Table] = (
    ("token_price", "USD", "price of the venue's token", "last"),
    ("stake", "USD", "what staked tokens are worth", "last"),
    ("slashed", "USD", "what slashed tokens were worth before they were sold", "sum"),
    ("bought_back", "USD", "of the surplus, for tokens that are destroyed", "sum"),
    ("stakers_paid", "USD", "of the surplus, to those who stake tokens", "sum"),
)


_OPTION_VAULT: Final[Table] = (
    ("option_vault", "USD", "balance of the vault that sells options: its depositors' claim", "last"),
    ("option_vault_short", "USD", "notional of the options that it is short of", "last"),
    ("option_vault_premium", "USD", "premium that it received for options, less what it paid", "sum"),
    (
        "option_vault_options",
        "USD",
        "result of its options, from mark to mark and at expiry, as if none had been liquidated in the step",
        "sum",
    ),
    ("option_vault_hedging", "USD", "result of its perpetuals, likewise; fees and funding apart", "sum"),
    ("option_vault_paid", "USD", "its share of realised profit, paid into the fund", "sum"),
    ("option_vault_failed", "0/1", "whether it has left a deficit", "max"),
)


_IMPLIED: Final[Table] = (("implied_volatility", "annualised", "implied volatility at the money, at thirty days", "mean"),)


_IN_COIN: Final[Table] = (("coin_margin", "coins", "what accounts whose margin is in the coin have, contracts at mark", "last"),)


_KINDS: Final = {"lender": "lenders", "market_maker": "market makers", "liquidator": "liquidators", "exchange": "exchanges"}

_SPREAD: Final[Table] = (
    *((f"initial_defaults_{kind}", "institutions", f"{who} newly in default that fail alone", "sum") for kind, who in _KINDS.items()),
    *((f"contagious_defaults_{kind}", "institutions", f"{who} that others bring down", "sum") for kind, who in _KINDS.items()),
    ("amplification", "1", "what creditors of defaulters lost over what those lacked that failed first; not a number without", "mean"),
    ("liquidated_accounts", "accounts", "accounts liquidated, counted once a step", "sum"),
    ("liquidated_alone", "accounts", "those among them that news alone brings below maintenance margin in the step", "sum"),
    ("branching_ratio", "1", "the others over all of them: how many a liquidation causes in its step; not a number without any", "mean"),
    ("fund_recovery", "h", "time since the fund stood at 90 % of its highest balance at a close; 0 while it does", "max"),
    ("depth_recovery", "h", "time since depth, all markets together, stood at 90 % of its highest at a close; 0 while it does", "max"),
)


_CROSSING: Final[Table] = (
    ("margin_brought", "USD", "margin that firms brought from accounts at other exchanges, less what they took there", "sum"),
    ("guarantee", "USD", "what other exchanges' funds paid into the fund for losses beyond it, less what it paid into theirs", "sum"),
)

_MARGIN: Final[Table] = (
    ("initial_margin", "USD", "initial margin asked of account holders for the contracts that they have at the close", "last"),
    (
        "variation_margin",
        "USD",
        "what accounts lost by the change of marks since the last close, each over all contracts that it had then; gains of others apart",
        "sum",
    ),
    ("margined_accounts", "accounts", "accounts that had contracts at the last close", "sum"),
    ("margin_breaches", "accounts", "those among them whose loss by the change of marks was beyond the initial margin asked then", "sum"),
    ("uncovered", "USD", "what they lost beyond it", "sum"),
    ("uncovered_largest", "USD", "the most that one of them lost beyond it", "max"),
    ("position_concentration", "1", "the five largest accounts' share of open positions, house apart; not a number without any", "mean"),
    ("margin_concentration", "1", "the share of initial margin asked of the five of whom most is; not a number without any", "mean"),
)


NETWORK: Final = frozenset(
    {
        "lender_equity",
        "defaults",
        "contagious_defaults",
        "default_waves",
        "network_loss",
        "network_reserve",
        "network_margin",
        "estates",
        "borrowed",
        "lines_withdrawn",
        "amplification",
        *(f"{what}_defaults_{kind}" for what in ("initial", "contagious") for kind in _KINDS),
    }
)
"""Outputs of a network of lenders and firms, which may reach over several exchanges."""
_ADDED: Final = frozenset(name for table in (_TOTALS, _SPREAD, _RESCUES, _MARGIN) for name, *_ in table)
APART: Final = "__"
"""Between an output's name and that of its exchange."""


def observables(  # noqa: PLR0913 - one for each table that some exchange lacks
    assets: Sequence[str],
    pools: Sequence[str] = (),
    *,
    acts: bool = False,
    quoted: Sequence[str] = (),
    settled: Sequence[str] = (),
    token: bool = False,
    closes: bool = False,
    several: bool = False,
    sells_options: bool = False,
) -> list[Observable]:
    """All outputs, in order, for these markets and, if there are several, these pools.

    Args:
        assets: names of markets; pools: of pools; acts: whether there are adequacy rules; quoted: underlyings of which there are options;
            settled: those in which contracts are settled; token: whether the venue has a token; closes: whether a channel of
            contagion is closed; several: whether there are other venues; sells_options: whether a vault of the venue does.
    """
    return [
        Observable("hours", "h", "hours since the start", "last"),
        *_each(_PER_MARKET, assets),
        *_all(_TOTALS),
        *_all(_SPREAD),
        *(_each(_PER_POOL, pools) if len(pools) > 1 else ()),
        *(_all(_ACTIONS) if acts else ()),
        *_each(_IMPLIED, quoted),
        *_each(_IN_COIN, settled),
        *(_all(_TOKEN) if token else ()),
        *(_all(_RESCUES) if closes else ()),
        *(_all(_CROSSING) if several else ()),
        *(_all(_OPTION_VAULT) if sells_options else ()),
        *_all(_MARGIN),
    ]


def of_venue(world: "Scenario", at: int) -> list[Observable]:
    """The outputs of a scenario's exchange number `at`, by the names that they have where there is no other."""
    block, several = world.venues[at], len(world.venues) > 1
    house, names = block.clearinghouse, world.markets_of(at)
    return observables(
        names,
        Pools.of(house.pools, names).names,
        acts=bool(house.adequacy),
        quoted=world.quoted_in(at),
        settled=world.settled_in(at),
        token=house.token is not None,
        closes=bool(world.channels.closed()),
        several=several,
        sells_options=block.option_vault is not None,
    )


def declared(world: "Scenario") -> list[Observable]:
    """All outputs of a scenario, in order; some come with the pools, rules, options, token or vault of its exchanges.

    Of several exchanges, the first's have plain names, those of another end in two underscores and its name, and totals over all of them in
    `__all`. What lenders are to firms at several exchanges is told once, with the first's.
    """
    out = of_venue(world, 0)
    if len(world.venues) == 1:
        return out
    summed = [one for one in out if _adds_up(one)]
    for at, block in enumerate(world.venues[1:], start=1):
        theirs = [one for one in of_venue(world, at) if one.name != "hours" and not (world.sharing.lenders and one.name in NETWORK)]
        out = out + [replace(one, name=named(one.name, block.name), definition=f"{one.definition} ({block.name})") for one in theirs]
    totals = [replace(one, name=named(one.name, ALL), definition=f"{one.definition} (all exchanges together)") for one in summed]
    return [*out, *totals]


def named(output: str, venue: str) -> str:
    """An output's name at an exchange that is not the first, or of all of them together."""
    return f"{output}{APART}{venue}"


def is_first(output: str) -> bool:
    """Whether an output of this name is the first exchange's."""
    return APART not in output


def _adds_up(one: Observable) -> bool:
    """Whether the sum of an output over exchanges means something; what some exchange may lack is left out."""
    adds = one.unit in ("USD", "accounts", "participants", "institutions", "lenders") and one.aggregate != "max"
    return adds and one.name in _ADDED and one.name not in PARTIAL


def _all(table: Table) -> list[Observable]:
    return [Observable(*row) for row in table]


def _each(table: Table, names: Sequence[str]) -> list[Observable]:
    """Every output of a table for each of `names`."""
    return [Observable(f"{base}_{name}", unit, text, how) for base, unit, text, how in table for name in names]


def _by_market(venue: "Venue", interest: "Floats", hours: float) -> list[float]:
    """The outputs of each market, in the order of `_PER_MARKET`."""
    market = venue.market
    columns = (
        market.index,
        market.quoted_marks,
        market.basis,
        market.volatility,
        market.depth.mean(axis=0),
        market.spread,
        interest,
        venue.funding * (HOURS_PER_YEAR / hours),
    )
    out: list[float] = np.concatenate(columns).tolist()
    return out


def _by_pool(venue: "Venue") -> list[float]:
    """The outputs of each pool, in the order of `_PER_POOL`; nothing for a fund that is not divided."""
    funds, targets, statements = venue.ledger.pools, venue.targets.tolist(), venue.ledger.statements
    if len(funds) == 1:
        return []
    adequacy = [fund / target if target > 0.0 else float("nan") for fund, target in zip(funds, targets, strict=True)]
    return [*funds, *targets, *adequacy, *(-sum(statement.get(kind, 0.0) for kind in DRAWS) for statement in statements)]


def _actions(venue: "Venue") -> list[float]:
    """The outputs in the order of `_ACTIONS`; nothing if there are no adequacy rules."""
    action = venue.action
    return [action.levies, action.initial, float(venue.recapitalised.sum()), action.capped, action.suspended] if venue.adequacy else []


def _in_coin(place: "Marketplace") -> list[float]:
    """The outputs of each underlying in which contracts are settled, in the order of `_IN_COIN`."""
    ledger, market = place.venue.ledger, place.venue.market
    assets = [place.assets.index(name) for name in place.settled]
    equity = ledger.equity() if assets else np.zeros(0)
    return [float(equity[ledger.currency == asset + 1].sum()) / float(market.rates[asset]) for asset in assets]


def _token(venue: "Venue") -> list[float]:
    """The outputs in the order of `_TOKEN`; nothing if there is no token."""
    token = venue.value.token
    return [token.price, token.price * token.staked, token.slashed, token.bought_back, token.paid] if token is not None else []


def _option_vault(venue: "Venue") -> list[float]:
    """The outputs in the order of `_OPTION_VAULT`; nothing without one."""
    vault = venue.option_vault
    if vault is None:
        return []
    results = (vault.premium, vault.options, vault.hedging, vault.paid)
    return [vault.equity(venue.ledger), vault.short(venue), *results, float(vault.failed_in >= 0)]


def _rescues(venue: "Venue") -> list[float]:
    """The outputs in the order of `_RESCUES`; nothing if every channel is open."""
    if not venue.channels.closed():
        return []
    rescued = [venue.tally.rescued.get(channel, 0.0) for channel in PAID_FOR]
    return [sum(rescued), *rescued, venue.tally.absorbed.get("rescue", 0.0), venue.ledger.flows.get(Flow.OUTSIDE_RESULT, 0.0)]


def _spread(place: "Marketplace", step: int) -> list[float]:
    """The outputs in the order of `_SPREAD`."""
    credit, tally = place.credit, place.venue.tally
    firms = credit.firms
    sizes = (credit.lenders, firms.makers, firms.count - firms.makers, len(firms.venues))
    kind = np.repeat(np.arange(len(sizes)), sizes)
    fresh = (credit.defaulted_at == step) & (step > 0)
    first, later = (np.bincount(kind[fresh & among], minlength=len(sizes)) for among in (credit.wave == 1, credit.wave > 1))
    spread = tally.liquidated_accounts - tally.liquidated_alone
    return [
        *first.tolist(),
        *later.tolist(),
        amplification(place.defaults.loss, place.defaults.initial),
        tally.liquidated_accounts,
        tally.liquidated_alone,
        spread / tally.liquidated_accounts if tally.liquidated_accounts else float("nan"),
        place.fund_recovery.hours,
        place.depth_recovery.hours,
    ]


def _crossing(place: "Marketplace") -> list[float]:
    """The outputs in the order of `_CROSSING`; nothing if there is no other exchange."""
    if len(place.world.venues) == 1:
        return []
    return [place.venue.tally.brought, place.venue.ledger.statement.get(Flow.GUARANTEE, 0.0)]


def _margin(place: "Marketplace") -> list[float]:
    """The outputs in the order of `_MARGIN`."""
    test = place.back_test
    breached = (test.accounts, test.breaches, test.uncovered, test.largest)
    return [test.required, test.variation, *breached, test.position_share, test.margin_share]


def _residual(venue: "Venue") -> float:
    """USD of deficits that neither the fund nor a layer before it bore, at the time when they arose."""
    order = [layer.name for layer in venue.waterfall]
    ahead = order[: order.index("fund") + 1] if "fund" in order else []
    return sum(usd for layer, usd in venue.tally.absorbed.items() if layer not in ahead) + venue.tally.deferred - venue.tally.settled


def observe(places: "Sequence[Marketplace]", step: int) -> dict[str, float]:
    """The outputs of step `step` by name, Python floats, in the order in which they are declared."""
    first = places[0]
    seen = _observe(first, step)
    if len(places) == 1:
        return seen
    each = [seen]
    for place in places[1:]:
        values = _observe(place, step)
        each.append({name: usd for name, usd in values.items() if name != "hours" and (place.lends or name not in NETWORK)})
    by_name = dict(seen)
    for place, values in zip(places[1:], each[1:], strict=True):
        by_name |= {named(name, place.venue.name): value for name, value in values.items()}
    for one in of_venue(first.world, 0):
        if _adds_up(one):
            by_name[named(one.name, ALL)] = sum(values.get(one.name, 0.0) for values in each)
    return by_name


def _observe(place: "Marketplace", step: int) -> dict[str, float]:
    """An exchange's outputs, by the names that they have where there is no other."""
    venue, credit = place.venue, place.credit
    ledger, tally = venue.ledger, venue.tally
    gross = ledger.exposure.sum(axis=1) * ledger.units
    interest = 0.5 * gross
    equity = ledger.equity()
    first = venue.institutions
    traders = float(equity[first:].sum())
    held = float(gross.sum() - ledger.units @ ledger.exposure[:, :first].sum(axis=1))
    flows = ledger.flows
    fund = ledger.fund
    totals = (
        float(interest.sum()),
        float(tally.volume.sum()),
        tally.fees,
        sum(flows.get(kind, 0.0) for kind in LEVIES),
        float(interest @ open_interest_levies(venue)) / max(float(interest.sum()), 1e-300) * HOURS_PER_YEAR,
        fund,
        venue.target,
        fund / venue.target if venue.target > 0.0 else float("nan"),
        ledger.treasury,
        traders,
        float(equity[venue.makers].sum()),
        float(equity[venue.liquidators].sum()),
        float(equity[venue.vault].sum()),
        float(credit.lender_equity().sum()),
        ledger.custody,
        held / traders if traders > 0.0 else 0.0,
        float(tally.liquidated.sum()),
        tally.liquidations,
        tally.takeovers,
        tally.deleveraged,
        *(venue.haircuts.measures() if venue.haircuts is not None else NOTHING),
        tally.bounties,
        tally.surplus,
        tally.deficits,
        _residual(venue),
        *(tally.absorbed.get(layer, 0.0) for layer in LAYERS),
        float(venue.members.held.sum()) if venue.members is not None else 0.0,
        venue.outstanding,
        withheld(venue),
        tally.lost_hedges,
        tally.bankruptcies,
        tally.margin_calls,
        place.defaults.defaults,
        place.defaults.contagious,
        place.defaults.waves,
        place.defaults.loss,
        place.defaults.reserve,
        place.defaults.margin,
        tally.deficits - tally.absorbed.get("rescue", 0.0) + place.defaults.loss,
        float(credit.pending.sum()),
        float(credit.debt().sum()),
        int(credit.withdrawn.sum()),
        int((ledger.status[first:] == Status.ACTIVE).sum()),
        flows.get(Flow.DEPOSIT, 0.0),
        flows.get(Flow.WITHDRAWAL, 0.0),
        place.population.confidence,
        place.population.demand.activity,
        place.population.appetite,
        tally.rounds,
        tally.unfinished,
        tally.halted,
        int(venue.insolvent),
        tally.bankruptcy_costs,
        tally.run,
        0.0 if venue.insolvent else place.population.run_fear,
    )
    implied = [float(venue.market.level[place.assets.index(asset)]) for asset in place.quoted]
    rest = [*_token(venue), *_rescues(venue), *_crossing(place), *_option_vault(venue), *_margin(place)]
    further = [*_spread(place, step), *_by_pool(venue), *_actions(venue), *implied, *_in_coin(place), *rest]
    values = [step * place.hours_per_step, *_by_market(venue, interest, place.hours_per_step), *totals, *further]
    return dict(zip(place.outputs, (float(v) for v in values), strict=True))
