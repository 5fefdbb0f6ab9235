"""The exchange as an agent: how it margins, liquidates, accrues a backstop fund and spends it."""
