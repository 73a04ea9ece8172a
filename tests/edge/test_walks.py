"""The walks of ARCHITECTURE.md, hop by hop, in a service that runs."""

from tests.edge.running import client_of
from tests.walks import calls, hops


async def test_a_url_takes_the_hops_that_are_listed_in_their_order() -> None:
    walk = hops("A fetch's way")
    assert len(walk) > 20
    async with client_of() as client:
        # The first one makes the connection, and what a service makes once.
        await client.batch({"urls": [f"{client.origin}/first"]})
        with calls() as made:
            await client.batch({"urls": [f"{client.origin}/one"]}, Accept="application/x-ndjson")
    rest = iter(made)
    assert [hop for hop in walk if hop not in rest] == [], "each of them comes after the one before"
