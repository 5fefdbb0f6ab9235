"""The world: what there is, and the order in which it happens."""
