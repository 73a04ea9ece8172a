"""docs/loadtest.md says what is so, and its adapter works as it stands there."""

import asyncio
import re
import sys
import tomllib
from argparse import Namespace
from pathlib import Path
from types import ModuleType

import orjson
import pytest

from loadtest import mixed
from loadtest.command import _MORE, SCENARIOS
from loadtest.ledger import KINDS
from loadtest.report import RunReport
from loadtest.targets import Target, target_of

TEXT = (Path(__file__).parent.parent.parent / "docs" / "loadtest.md").read_text()


def column(heading: str) -> list[str]:
    """Return the names in the first column of the table under a heading."""
    table = TEXT[TEXT.index(heading) :].split("\n\n")[0].splitlines()[2:]
    return [name for line in table for name in re.findall(r"`([^`]+)`", line.split("|")[1])]


def test_every_scenario_is_in_the_table() -> None:
    assert sorted(column("| scenario | does |")) == sorted([*SCENARIOS, *_MORE])


def test_every_check_and_every_field_of_the_report_is_in_its_table() -> None:
    assert column("| check | means |") == list(KINDS)
    assert sorted(column("| field | is |")) == sorted(RunReport("x", "").document())


def test_the_plan_is_one() -> None:
    parts = tomllib.loads(TEXT.split("```toml\n")[1].split("```")[0])["part"]
    options = Namespace(
        clients=100, duration=5.0, settle=1.0, target="sluice", scenario="mixed", rate="10", run="r", user_rows=[]
    )
    assert mixed.share_out(options, parts) == []
    assert [part["clients"] for part in options.parts] == [80, 10, 10]


@pytest.fixture
def rooms(monkeypatch: pytest.MonkeyPatch) -> type[Target]:
    module = ModuleType("rooms")
    exec(TEXT.split("```python\n")[1].split("```")[0], vars(module))
    monkeypatch.setitem(sys.modules, "rooms", module)
    return target_of("rooms:Rooms")


async def test_the_adapter_joins_and_says(rooms: type[Target]) -> None:
    class Socket:
        def __init__(self) -> None:
            self.sent: list[object] = []
            self.answered = asyncio.Event()

        def send(self, text: bytes) -> None:
            self.sent.append(orjson.loads(text))

        async def ask(self, key: object, text: bytes) -> None:
            self.send(text)
            await self.answered.wait()

        def answer(self, key: object, value: object) -> bool:
            assert key == "lobby"
            self.answered.set()
            return True

    socket, target = Socket(), rooms(None)  # type: ignore[arg-type]
    joining = asyncio.ensure_future(target.subscribe(socket, "lobby"))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    target.received(socket, b'{"joined":"lobby"}')  # type: ignore[arg-type]
    assert (await joining).offset == 0
    await target.publish(socket, "lobby", b'{"n":1}')  # type: ignore[arg-type]
    assert socket.sent == [{"do": "join", "room": "lobby"},
                           {"do": "say", "room": "lobby", "text": {"n": 1}}]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nothing", "neither sluice"),
        ("no_such:X", "no_such"),
        ("os:X", "'X'"),
        ("os:path", "is not a subclass"),
        ("./nothing.py", "no file"),
        ("os:", "has to have one subclass"),
    ],
)
def test_invalid_adapters_are_refused_with_a_reason(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        target_of(text)
