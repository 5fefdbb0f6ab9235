"""Who decides: rules as small pure functions, and the Mesa agents that wrap them."""
