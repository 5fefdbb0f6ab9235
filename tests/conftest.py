"""What all tests share."""

import pytest
from hypothesis import settings

# The same examples at every call, so that a red run is red for everybody; `make validate` searches for new ones.
settings.register_profile("steady", derandomize=True, deadline=None, database=None)


def pytest_configure(config: pytest.Config) -> None:
    """Chooses the steady examples unless a profile is named."""
    if not config.getoption("--hypothesis-profile"):
        settings.load_profile("steady")
