"""The memory of all rings: who has used up its share gives up its own, and nobody else's."""

import contextlib

import pytest

from service.core.errors import Overloaded
from service.core.owner import Owner
from service.core.topics.hub import Hub, HubLimits
from service.core.topics.topic import RingLimits
from tests.core.readers import Turns, make_hub

A, B, C = Owner("a"), Owner("b"), Owner("c")
BIG = b'"%b"' % (b"x" * 900)


def fill(hub: Hub, owner: Owner) -> int:
    """Publish to one topic after another until that is refused; return to how many."""
    with contextlib.suppress(Overloaded):
        for made in range(100):
            hub.publish(f"a{made}", BIG, 0.0, owner=owner)
    return made


def test_who_fills_the_memory_keeps_its_newest_and_others_keep_all() -> None:
    hub = make_hub(Turns(), HubLimits(ring_bytes=50_000))
    for _ in range(5):
        hub.publish("b", BIG, 0.0, owner=B)
    for number in range(200):
        hub.publish(f"a{number % 10}", BIG, 0.0, owner=A)
    assert hub.topics["b"].first == 1
    assert hub.rings.pool.held(A) <= 40_000
    assert hub.rings.pool.refused > 0
    for _ in range(5):
        hub.publish("b", BIG, 0.0, owner=B)
    assert (hub.topics["b"].first, hub.topics["b"].head) == (1, 10)
    assert hub.rings.pool.used == sum(topic.size for topic in hub.topics.values())


def test_newest_messages_alone_can_use_up_a_share_and_only_their_owner_is_refused() -> None:
    hub = make_hub(Turns(), HubLimits(ring_bytes=50_000))
    made = fill(hub, A)
    with pytest.raises(Overloaded, match="limit rings_size: this client has .* its share of 50000") as refused:
        hub.publish(f"a{made}", BIG, 0.0, owner=A)
    assert refused.value.data()["pool"] == "rings_size"
    assert 30 < made < 50
    assert f"a{made}" not in hub.topics
    hub.publish("b", BIG, 0.0, owner=B)


def test_all_rings_together_stay_within_their_bound_and_the_largest_holder_gives_way() -> None:
    hub = make_hub(Turns(), HubLimits(ring_bytes=50_000))
    for number in range(200):
        hub.publish(f"a{number % 4}", BIG, 0.0, owner=A)
    for number in range(400):
        owner = Owner(f"o{number % 40}")
        hub.publish(f"t{number % 40}", BIG, 0.0, owner=owner)
    assert hub.rings.pool.used <= 50_000 + 40 * 2000
    assert max(hub.rings.pool.held(Owner(f"o{number}")) for number in range(40)) < 4000


def test_a_ring_counts_for_another_who_publishes_once_its_payer_has_no_room() -> None:
    hub = make_hub(Turns(), HubLimits(ring_bytes=20_000))
    hub.readable("shared", C)
    hub.publish("shared", b"[%b,%b,%b]" % (BIG, BIG, BIG), 0.0, owner=B)
    assert (hub.topics["shared"].owner, hub.topics["shared"].payer) == (C, B)
    for number in range(13):
        hub.publish(f"b{number}", BIG, 0.0, owner=B)
    hub.publish("shared", BIG, 0.0, owner=A)
    assert hub.topics["shared"].payer == A
    assert hub.rings.pool.held(A) == hub.topics["shared"].size
    # It stays so: one more of B's does not give it back to B.
    hub.publish("shared", b"1", 0.0, owner=B)
    assert hub.topics["shared"].payer == A
    hub.sweep(1000.0)
    assert (hub.rings.pool.used, hub.rings.pool.statistics().owners) == (0, 0)


def test_who_fills_the_rings_that_another_began_pays_for_them_and_the_other_loses_nothing() -> None:
    hub = make_hub(Turns(), HubLimits(ring_bytes=100_000))
    for _ in range(10):
        hub.publish("history of b", b"1", 0.0, owner=B)
    for number in range(20):
        hub.publish(f"b{number}", b"1", 0.0, owner=B)
    held = hub.rings.pool.held(B)
    for number in range(400):
        hub.publish(f"b{number % 20}", BIG, 0.0, owner=A)
    assert hub.rings.pool.held(B) <= held
    assert hub.topics["history of b"].first == 1
    assert hub.rings.pool.used == sum(topic.size for topic in hub.topics.values())


@pytest.mark.parametrize(("sizes", "payer"), [((900, 100), A), ((100, 900), B), ((500, 500), A)])
def test_a_ring_counts_for_the_owner_that_filled_most_of_it(sizes: tuple[int, int], payer: Owner) -> None:
    hub = make_hub(Turns())
    for number in range(10):
        for owner, size in zip((A, B), sizes, strict=True):
            hub.publish("t", b'"%b"' % (b"x" * (size + number)), 0.0, owner=owner)
    assert hub.topics["t"].payer == payer
    assert (hub.rings.pool.held(payer), hub.rings.pool.statistics().owners) == (hub.topics["t"].size, 1)


def test_what_has_left_a_ring_counts_for_nobody() -> None:
    hub = make_hub(Turns(), HubLimits(ring=RingLimits(messages=4)))
    for _ in range(100):
        hub.publish("t", BIG, 0.0, owner=A)
    for _ in range(5):
        hub.publish("t", BIG, 0.0, owner=B)
    assert hub.topics["t"].payer == B


def test_a_light_owner_has_less() -> None:
    hub = make_hub(Turns(), HubLimits(ring_bytes=50_000))
    light = Owner("light", 0.1)
    fill(hub, light)
    assert 5_000 < hub.rings.pool.held(light) < 20_000


def test_a_ring_that_ages_keeps_what_is_young() -> None:
    hub = make_hub(Turns(), HubLimits(ring=RingLimits(age=10.0)))
    for now in (0.0, 5.0, 6.0):
        hub.publish("t", b"1", now)
    hub.sweep(11.0)
    assert (hub.topics["t"].first, hub.topics["t"].head) == (2, 3)
    assert hub.rings.pool.used == hub.topics["t"].size


def test_a_ring_that_shrinks_by_a_publish_is_counted_out() -> None:
    hub = make_hub(Turns(), HubLimits(ring=RingLimits(messages=1)))
    hub.publish("t", BIG, 0.0)
    hub.publish("t", b"1", 0.0)
    assert hub.rings.pool.used == hub.topics["t"].size < 900


def test_an_owner_below_its_share_takes_what_the_largest_has_beyond_its_own() -> None:
    hub = make_hub(Turns(), HubLimits(ring_bytes=50_000))
    for number in range(200):
        hub.publish(f"a{number % 4}", BIG, 0.0, owner=A)
    before = hub.rings.pool.held(A)
    for _ in range(20):
        hub.publish("b", BIG, 0.0, owner=B)
    assert hub.topics["b"].first == 1
    assert hub.rings.pool.held(A) < before
    assert hub.rings.pool.used <= 50_000


def test_nobody_below_an_equal_share_gives_way() -> None:
    hub = make_hub(Turns(), HubLimits(ring_bytes=50_000))
    for number in range(50):
        hub.publish(f"t{number}", BIG, 0.0, owner=Owner(f"o{number}"))
    for _ in range(2):
        hub.publish("s", b"1", 0.0, owner=Owner("small"))
    for number in range(50, 60):
        hub.publish(f"t{number}", BIG, 0.0, owner=Owner(f"o{number}"))
    assert hub.rings.pool.used > 50_000
    assert hub.topics["s"].first == 1


def test_the_largest_gives_up_all_but_its_newest_and_no_more() -> None:
    hub = make_hub(Turns(), HubLimits(ring_bytes=50_000))
    for number in (*range(36), 0):
        hub.publish(f"a{number}", BIG, 0.0, owner=A)
    for number in range(25):
        hub.publish(f"t{number}", BIG, 0.0, owner=Owner(f"o{number}"))
    assert hub.topics["a0"].first == hub.topics["a0"].head == 2
    assert all(hub.topics[f"a{number}"].head == 1 for number in range(1, 36))


def test_the_newest_message_alone_may_be_replaced_by_an_owner_without_room() -> None:
    hub = make_hub(Turns(), HubLimits(ring_bytes=50_000))
    fill(hub, A)
    hub.publish("a0", BIG, 0.0, owner=A)
    assert hub.topics["a0"].head == 2
