"""With exposures frozen, one round of clearing obeys its signs: more fund, never more residual loss."""

import itertools

import pytest

from experiments import shipped
from model.ecosystem import Ecosystem
from model.scenario import Scenario
from tests.model.test_clearing import cleared

FUNDS = (0.1e6, 1e6, 3e6, 5e6, 6e6, 8e6, 20e6)


def crowded(seed: int) -> Ecosystem:
    """A crash-like population ten steps after its opening: leverage 10, exchange capital behind the fund, one round an increment."""
    world = shipped.load("crash").model_dump(mode="json", by_alias=True)
    world["shocks"] = []
    world["traders"]["groups"] = [{"name": "retail", "count": 250, "equity": 5e8, "leverage": 10}]
    world["venues"][0]["clearinghouse"] |= {"fund": 0.0, "rounds": 1}
    eco = Ecosystem(Scenario.model_validate(world), rng=seed)
    eco.run_for(10)
    return eco


@pytest.mark.parametrize(("seed", "jump"), [(0, -0.10), (0, 0.10), (1, -0.12), (4, -0.10), (4, -0.08)])
def test_more_fund_never_means_more_residual_loss_where_exchange_capital_stands_behind_it(seed: int, jump: float) -> None:
    # A fund of 6 m can pay for selling at the market's price where one of 5 m cannot: that must not cost exchange capital more.
    eco = crowded(seed)
    losses = [cleared(eco, jump, fund) for fund in FUNDS]
    assert losses[0] > 0.0
    for less, more in itertools.pairwise(losses):
        assert more <= less + 1.0
