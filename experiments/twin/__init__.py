"""The slow twin: the clearing core again, in plain Python, one Mesa agent an account, to read and to compare with.

Read it in this order: `market` (what a price is), `margin` and `portfolio` (what an account must hold), `accounts` (what an account has,
and what market makers and liquidators decide), `exchange` (the step), `liquidation` (a round), `deleveraging` (who gives up contracts),
`waterfall` (who pays), `accrual` (what the fund takes). Every account is settled in cash at every mark and checked at every increment.
Nothing here calls a rule of `model` or `agents`: it takes their scenario, and `record` alone runs the array engine, to play its orders to
the twin and compare account by account. `person` and `world` add traders that decide for themselves, for the benchmark.
"""
