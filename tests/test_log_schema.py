"""Every call that logs is in the schema of docs/operations.md, with its level and its fields."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.log_schema import EVENTS, FIELDS, SETTINGS, wrong_with

SERVICE = Path(__file__).parent.parent / "service"
# What service.client logs is in the log of the program that uses it, and sluice fetch has no log.
OTHERS = {SERVICE / name for name in ("client", "commands")}
LEVELS = {"debug", "info", "warning", "error", "exception", "critical", "log"}


@cache
def trees() -> list[ast.Module]:
    return [ast.parse(file.read_text()) for file in SERVICE.rglob("*.py") if OTHERS.isdisjoint(file.parents)]


@cache
def nodes() -> dict[type[ast.AST], list[tuple[ast.Module, ast.AST]]]:
    """Return the calls, functions and assignments of all modules, each with its module: a walk takes half a second."""
    found: dict[type[ast.AST], list[tuple[ast.Module, ast.AST]]] = {
        ast.Call: [],
        ast.FunctionDef: [],
        ast.Assign: [],
    }
    for tree in trees():
        for node in ast.walk(tree):
            if type(node) in found:
                found[type(node)].append((tree, node))
    return found


@pytest.fixture(scope="module", autouse=True)
def free_trees() -> Iterator[None]:
    """Free millions of objects that every later run of the garbage collector would look at."""
    yield
    trees.cache_clear()
    nodes.cache_clear()


def calls() -> Iterator[tuple[ast.Module, ast.Call]]:
    for tree, node in nodes()[ast.Call]:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield tree, node


@cache
def logged() -> list[tuple[str, str, frozenset[str]]]:
    """Return the message, level and fields of each call that logs."""
    return [*_logged()]


def _logged() -> Iterator[tuple[str, str, frozenset[str]]]:
    for tree, call in calls():
        assert isinstance(call.func, ast.Attribute)
        named = {keyword.arg: keyword.value for keyword in call.keywords}
        logger = isinstance(call.func.value, ast.Name) and call.func.value.id == "_log"
        if logger and call.func.attr in LEVELS:
            level = "error" if call.func.attr == "exception" else call.func.attr
            fields = keys(tree, named["extra"]) if "extra" in named else set()
            if call.func.attr == "exception" or "exc_info" in named:
                fields.add("exception")
            yield message_of(call), level, frozenset(fields)
        elif call.func.attr == "_notice":
            yield message_of(call), "warning", frozenset(filter(None, named))


def message_of(call: ast.Call) -> str:
    """Return the message, which is a constant: it is the kind of the event."""
    assert isinstance(call.args[0], ast.Constant), ast.unparse(call)
    assert len(call.args) == 1, f"particulars belong in extra: {ast.unparse(call)}"
    assert isinstance(call.args[0].value, str)
    return call.args[0].value


def keys(tree: ast.Module, value: ast.expr) -> set[str]:
    """Return the keys of a dictionary, also where it is made elsewhere."""
    match value:
        case ast.Dict():
            found: set[str] = set()
            for key, item in zip(value.keys, value.values, strict=True):
                found |= keys(tree, item) if key is None else {ast.literal_eval(key)}
            return found
        case ast.DictComp():
            return {SETTINGS}
        case ast.IfExp():
            return keys(tree, value.body) | keys(tree, value.orelse)
        case ast.Name():
            return made(value.id, tree) or made(value.id)
        case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)):
            returned = [
                keys(other, statement.value)
                for other, function in nodes()[ast.FunctionDef]
                if isinstance(function, ast.FunctionDef) and function.name == name
                for statement in ast.walk(function)
                if isinstance(statement, ast.Return) and isinstance(statement.value, ast.Dict | ast.IfExp)
            ]
            assert returned, ast.unparse(value)
            return set().union(*returned)
        case _:
            raise AssertionError(ast.unparse(value))


def made(name: str, within: ast.Module | None = None) -> set[str]:
    """Return the keys of what a name is set to, in one module or in any."""
    return {
        key
        for tree, node in nodes()[ast.Assign]
        if within is None or tree is within
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name
        for key in keys(tree, node.value)
    }


def test_the_operations_list_every_event_of_the_log() -> None:
    assert {message for message, *_ in logged()} == set(EVENTS)


def is_listed(message: str, level: str, fields: frozenset[str]) -> bool:
    listed, known = EVENTS[message]
    return level == listed and (fields == {SETTINGS} if known is SETTINGS else fields <= set(known))


def test_each_event_has_the_level_and_the_fields_that_are_listed() -> None:
    assert [event for event in logged() if not is_listed(*event)] == []


def test_an_event_with_another_level_or_field_is_found() -> None:
    level, _ = EVENTS["listening"]
    assert is_listed("listening", level, frozenset({"pid"}))
    assert not is_listed("listening", "debug", frozenset({"pid"}))
    assert not is_listed("listening", level, frozenset({"pid", "more"}))


def test_every_field_that_is_listed_is_in_use_and_has_a_type() -> None:
    used = {field for *_, fields in logged() for field in fields} - {SETTINGS}
    assert used == set(FIELDS)
    assert used == {name for _, fields in EVENTS.values() if fields is not SETTINGS for name in fields}


@pytest.mark.parametrize(
    "wrong",
    [
        {"message": "another"},
        {"level": "warning"},
        {"pid": "1"},
        {"more": 1},
        {"time": "yesterday"},
    ],
    ids=str,
)
def test_a_line_that_is_not_as_listed_is_found_out(wrong: dict[str, object]) -> None:
    right = {
        "time": "2026-11-24T11:25:38.929Z",
        "level": "info",
        "logger": "sluice",
        "message": "listening",
        "pid": 1,
    }
    assert not wrong_with(right)
    assert wrong_with({**right, **wrong})
