"""The one convention on time that rates share."""

from typing import Final

HOURS_PER_YEAR: Final = 8_760.0
"""Markets that never close: 365 days of 24 hours."""
