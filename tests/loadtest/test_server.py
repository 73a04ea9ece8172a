"""What the generator reads of the other end."""

import pytest

from loadtest.server import _kernel_mib, _quantile

INF = float("inf")


@pytest.mark.parametrize(
    ("rank", "value"),
    [(50, 0.005), (75, 0.0075), (100, 0.01), (150, 0.055), (200, 0.1), (201, 0.1)],
)
def test_a_quantile_lies_on_the_line_inside_its_bucket(rank: float, value: float) -> None:
    assert _quantile({0.01: 100, 0.1: 200, INF: 201}, rank) == pytest.approx(value)


def test_nothing_counted_is_nothing() -> None:
    assert _quantile({}, 0.0) == 0.0


def test_the_kernels_memory_is_read() -> None:
    assert _kernel_mib() >= 0.0
