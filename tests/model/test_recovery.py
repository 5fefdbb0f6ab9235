"""Time to recovery, counted while it lasts."""

from model.recovery import Recovery


def test_time_counts_from_below_ninety_per_cent_of_the_highest_until_it_is_back() -> None:
    # The highest is 100, then 200: 90 is enough at first, 179 is not enough any more.
    fund = Recovery(100.0)
    seen = []
    for level in (95.0, 90.0, 89.0, 50.0, 90.0, 200.0, 179.0, 181.0):
        fund.observe(level, 2.0)
        seen.append(fund.hours)
    assert seen == [0.0, 0.0, 2.0, 4.0, 0.0, 0.0, 2.0, 0.0]
