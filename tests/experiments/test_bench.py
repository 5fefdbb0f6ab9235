"""The benchmark's plain engine is the array engine's world, and says how long steps take."""

import pytest

from experiments import bench


@pytest.mark.parametrize("crash", [False, True], ids=["calm", "crash"])
def test_leaving_safe_accounts_out_of_the_walk_changes_nothing(crash: bool) -> None:
    scenario = bench.calm(200, crash=crash)
    worlds = [bench.plain_engine(scenario, 3, screen=screen) for screen in (True, False)]
    for _ in range(9):
        for world in worlds:
            world.step()
    screened, whole = worlds
    assert screened.funds[0].cash == pytest.approx(whole.funds[0].cash, rel=1e-9)
    assert screened.accounts.keys() == whole.accounts.keys()
    for number, account in screened.accounts.items():
        assert account.cash == pytest.approx(whole.accounts[number].cash, rel=1e-9, abs=1e-3)
        assert account.status == whole.accounts[number].status
    assert any(account.status == "bankrupt" for account in screened.traders) == crash


def test_the_plain_engine_trades_as_much_as_the_array_engine() -> None:
    scenario = bench.calm(500)
    plain, array = bench.plain_engine(scenario, 1), bench.array_engine(scenario, 1)
    fees = [0.0, 0.0]
    for _ in range(72):
        plain.step()
        array.step()
        fees[0] += plain.fees
        fees[1] += array.observation["fees"]
    # Same rules and other draws: three days' fees lie within a third of each other.
    assert fees[0] == pytest.approx(fees[1], rel=1 / 3)


def test_the_benchmark_prints_a_rate_for_each_engine(capsys: pytest.CaptureFixture[str]) -> None:
    bench.main(traders=[100], steps=1)
    said = capsys.readouterr().out
    assert "plain agents" in said
    assert "bytes a trader" in said


def test_the_sizing_benchmark_says_how_long_and_how_much() -> None:
    took, peak = bench.sizing(0, accounts=2000, markets=3, scenarios=1000)
    assert took > 0.0
    # A block of accounts by all scenarios, not accounts by scenarios.
    assert 8 * 1000 * 512 < peak < 8 * 1000 * 2000
