"""Several kinds of load at the same time, by a file that says how much of each."""

import asyncio
import tomllib
from argparse import ArgumentParser, Namespace, _ArgumentGroup
from types import ModuleType
from typing import Any

from loadtest.context import WorkerContext
from loadtest.measures import LOAD, Measures, merged
from loadtest.scenarios import SCENARIOS
from loadtest.targets import unable
from service.runtime.bounded_files import DOCUMENT, read_bounded

__all__ = ["HELP", "add_options", "measures", "run", "validate"]

HELP = "several scenarios at the same time; --plan FILE says which, and how the clients are shared out"

_OF_ALL = ("duration", "settle", "arrivals", "model", "think", "rate")


def add_options(parser: _ArgumentGroup) -> None:
    """Declare the options."""
    parser.add_argument("--plan", default="", help="TOML with a [[part]] for each: scenario, weight, its options")


def validate(options: Namespace) -> list[str]:
    """Read the plan, and return what is wrong with it."""
    if not options.plan:
        return ["--plan: needed: a TOML file with a [[part]] for each scenario (docs/loadtest.md shows one)"]
    try:
        document = tomllib.loads(read_bounded(options.plan, DOCUMENT, pipes=True).decode())
    except (OSError, UnicodeDecodeError) as error:
        return [f"--plan: {options.plan} cannot be read: {error}"]
    except tomllib.TOMLDecodeError as error:
        return [f"--plan: {options.plan} is not TOML: {error}"]
    parts = document.get("part")
    if not isinstance(parts, list) or not parts or set(document) != {"part"}:
        return ["--plan: has [[part]] and nothing else"]
    return share_out(options, parts)


def measures(options: Namespace) -> Measures:
    """Return what the parts of the plan can measure together, and the load of each of them."""
    scenarios = {scenario.__name__: scenario for scenario in SCENARIOS.values()}
    parts = tuple(f"part{number}_{name}" for number in range(len(options.parts)) for name in LOAD)
    return merged([*(scenarios[part["module"]].MEASURES for part in options.parts), Measures(parts)])


def share_out(options: Namespace, parts: list[dict[str, Any]]) -> list[str]:
    """Set ``options.parts``: each with all options it needs and its share of the clients; return what is wrong."""
    wrong = []
    weights = [part.get("weight", 1) for part in parts]
    if not all(isinstance(weight, int | float) and weight >= 0 for weight in weights) or not sum(weights):
        return ["--plan: a weight is a number, and one of them above 0"]
    options.parts, given = [], 0
    for place, part in enumerate(parts):
        name = part.get("scenario")
        if name not in SCENARIOS:
            wrong.append(f"--plan: part {place + 1}: scenario is one of {', '.join(SCENARIOS)}")
            continue
        refused = unable(options.target, name)
        wrong += [f"{refused} (part {place + 1})"] if refused else []
        up_to = round(options.clients * sum(weights[: place + 1]) / sum(weights))
        own = _defaults(SCENARIOS[name])
        able = {*own, *_OF_ALL}
        more = {key.replace("-", "_"): value for key, value in part.items() if key not in ("scenario", "weight")}
        wrong += [f"--plan: part {place + 1}: {name} has no option {key}" for key in more if key not in able]
        values = {**vars(options), **own, **more, "clients": up_to - given, "scenario": name}
        if "prefix" in own and "prefix" not in more:
            values["prefix"] = f"{own['prefix']}-{place}"
        values = {key: value for key, value in values.items() if key != "parts"}
        values["rate"] = str(values["rate"])
        wrong += [f"{text} (part {place + 1})" for text in SCENARIOS[name].validate(Namespace(**values))]
        options.parts.append({**values, "module": SCENARIOS[name].__name__})
        given = up_to
    return wrong


def _defaults(scenario: ModuleType) -> dict[str, Any]:
    """Return the options that a part may set, with their defaults."""
    parser = ArgumentParser()
    scenario.add_options(parser.add_argument_group())
    # All parts take as long as the whole, if they do not say otherwise.
    parser.set_defaults(**{"rate": "10", **getattr(scenario, "DEFAULTS", {}), "duration": None})
    return {key: value for key, value in vars(parser.parse_args([])).items() if value is not None}


async def run(context: WorkerContext) -> None:
    """Run all parts; they begin together."""
    together = asyncio.Barrier(len(context.options.parts))
    scenarios = {scenario.__name__: scenario for scenario in SCENARIOS.values()}
    async with asyncio.TaskGroup() as group:
        for number, part in enumerate(context.options.parts):
            options = Namespace(**{**part, "run": context.options.run})
            one = context.part(options, f"part {number}", together)
            group.create_task(scenarios[part["module"]].run(one))
