"""The slow twin: the clearing core again, in plain Python, one Mesa agent an account, to read and to compare with.

It is the shortest account of how the exchange works. Read `exchange` first, from `clear` on: it is the step, and everything else is what a
line of it does. Then, in the order of a crash:

1. `market`: what a price is; how an order moves it, and how it comes back. `series`: a dated contract's life; `dated`: its end. `options`:
   what an option is worth, on the `surface` of implied volatility, which moves.
2. `accounts`: what an account has, and what market makers, liquidators, the vault, the fund and the outside world do with theirs;
   `option_vault`: what the vault that sells options does.
3. `margin`, and `portfolio` for the rules that look at all markets together: what an account must hold.
4. `liquidation`: a round of it. `slices`: which part of a breached account must go; `fees`: what that costs it.
5. `waterfall`: who bears a loss, layer by layer, with `members` (clearing members), `deferral` (those who bear it later), `pools` (how the
   fund is divided), `coins` and `token` (what the fund holds instead of dollars), and `deleveraging` (who gives up contracts).
6. `accrual`: what the fund takes, in fees, funding and levies. `sizing`: how large it should be.

Every account is settled in cash at every mark and checked at every increment; nobody is left out for speed. Where a channel of contagion is
closed, `exchange.outside` takes the other side. Nothing here calls a rule of `model` or `agents`: it takes their scenario, and published
tables that presets name. `record` alone runs the array engine, to play what reached its exchange (`inputs`) to the twin and compare account
by account; `person` and `world` add traders that decide for themselves, for the benchmark.

It does not know sizing by stress, several exchanges, and credit: what lenders do between two steps it is told, and what traders and the
option vault order. Of implied volatility it is told by what part a shock moves it, and to what realised volatility it finds back; what it
is it computes.
"""
