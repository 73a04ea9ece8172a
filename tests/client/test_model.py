"""Random schedules for the Python client; ``./x bench clients`` runs more of them."""

import pytest

from tests.client.model import try_schedules


@pytest.mark.parametrize("first", range(0, 300, 100))
def test_schedules(first: int) -> None:
    try_schedules(range(first, first + 100))
