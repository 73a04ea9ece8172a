import random

import pytest

from service.edge.routes.large_writes import LARGE, in_parts


@pytest.mark.parametrize("seed", range(20))
def test_parts_are_the_same_bytes_and_none_is_larger_than_it_may_be(seed: int) -> None:
    chance = random.Random(seed)
    sizes = [
        chance.choice([0, 1, 5, 1000, LARGE - 1, LARGE, LARGE + 1, 3 * LARGE]) for _ in range(chance.randint(0, 30))
    ]
    pieces = [chance.randbytes(size) for size in sizes]

    parts = [*in_parts(pieces)]

    assert b"".join(parts) == b"".join(pieces)
    assert all(0 < len(part) <= LARGE for part in parts)


def test_small_pieces_share_a_part() -> None:
    assert len([*in_parts([b"x" * 100] * 650)]) == 1
    assert len([*in_parts([b"x" * 100] * 660)]) == 2
