"""The way of a message in ARCHITECTURE.md: each hop is a function that is there, and a real publish passes it."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from tests.edge.running import call, client_of

ROOT = Path(__file__).parent.parent
HOP = re.compile(r"`((?:core|edge)/[\w/]+\.py)` \(((?:`\w+`(?:, )?)+)\)|`((?:core|edge)/[\w/]+\.py)`, `(\w+)`")
LATER = {("core/topics/hub.py", "_stored")}
"""Hops of a store that answers later."""


def hops() -> Iterator[tuple[str, str]]:
    """Yield file and function of every hop."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    way = text[text.index("## A message's way") : text.index("## A fetch's way")]
    for file, functions, other, one in HOP.findall(way):
        for function in re.findall(r"\w+", functions) or [one]:
            yield file or other, function


def test_every_hop_is_a_function_of_its_file() -> None:
    found = list(hops())
    assert len(found) >= 10
    for file, function in found:
        tree = ast.parse((ROOT / "service" / file).read_text())
        defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert function in defined, f"{file} has no {function}"


async def test_a_publish_passes_every_hop() -> None:
    passed: set[tuple[str, str]] = set()

    def note(frame: FrameType, event: str, argument: Any) -> None:
        name = frame.f_code.co_filename
        if event == "call" and "/service/" in name:
            passed.add((name.rpartition("/service/")[2], frame.f_code.co_name))

    async with client_of() as client, client.socket() as socket:
        await call(socket, "subscribe", topic="t")
        sys.setprofile(note)
        try:
            await socket.send_json(
                {"jsonrpc": "2.0", "id": 2, "method": "publish", "params": {"topic": "t", "data": 1}}
            )
            answer, message = [await socket.receive_json() for _ in range(2)]
        finally:
            sys.setprofile(None)
    assert (answer["result"]["offset"], message["params"]["offset"]) == (1, 1)
    assert set(hops()) - LATER <= passed
