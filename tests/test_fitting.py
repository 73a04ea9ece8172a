"""Bounds that fit the machine: what is lowered, what is refused, and with which advice."""

import resource
from typing import Any

import msgspec
import pytest

from service.config import fitting
from service.config.configuration import SettingsError, read_settings
from service.config.limits import pipeline_options
from service.config.settings import Settings
from service.work.pipelines.declaration import PipelineDeclaration, StageDeclaration
from service.work.pipelines.pipelines import DeclaredPipeline

MIB = 1 << 20
DEFAULTS = msgspec.structs.asdict(Settings())
SOCKETS = ("websockets", "connections", "upstream")


@pytest.fixture
def descriptors(monkeypatch: pytest.MonkeyPatch) -> Any:
    real = resource.getrlimit

    def limited(hard: int) -> None:
        def limit(which: int) -> tuple[int, int]:
            return (hard, hard) if which == resource.RLIMIT_NOFILE else real(which)

        monkeypatch.setattr(resource, "getrlimit", limit)

    return limited


@pytest.mark.parametrize(
    ("text", "size"),
    [("512", "512"), ("1k", "1024"), ("512MiB", f"{512 * MIB}"), ("512 MB", f"{512 * MIB}"), ("1.5g", f"{1536 * MIB}"),
     ("2T", f"{2 << 40}"), ("many", "many"), ("1x", "1x"), ("-1", "-1"), ("", "")],
)  # fmt: skip
def test_sizes_with_units(text: str, size: str) -> None:
    assert fitting.size_of(text) == size


def test_sizes_may_have_units_as_options_and_variables() -> None:
    settings = read_settings({"memory_limit": "1GiB"}, {"SLUICE_RINGS_SIZE": "100k", "SLUICE_RING_SIZE": "10k"})
    assert (settings.memory_limit, settings.rings_size, settings.ring_size) == (1 << 30, 102_400, 10_240)
    with pytest.raises(SettingsError, match="--memory-limit"):
        read_settings({"memory_limit": "1 lot"}, {})


def test_bounds_are_shares_of_a_small_memory_and_their_defaults_in_a_large_one() -> None:
    lower = fitting.fit_memory(DEFAULTS, (), 256 * MIB)
    assert lower == {
        "rings_size": 32 * MIB,
        "backlogs_size": 32 * MIB,
        "batches_size": 32 * MIB,
        "cache_size": 8 * MIB,
        "websockets": 3276,
        "upstream": 64,
    }
    assert fitting.fit_memory(DEFAULTS, (), 4096 * MIB) == {}
    assert fitting.fit_memory(DEFAULTS, (), 0) == {}, "nothing is known of the memory"
    tiny = fitting.fit_memory(DEFAULTS, (), 16 * MIB)
    assert tiny["ring_size"] <= tiny["rings_size"]
    assert (
        sum(lower[name] for name in lower if name.endswith("_size"))
        + (fitting.READING + fitting.QUEUED) * 256 * MIB
        < 160 * MIB
    )


@pytest.mark.parametrize(("memory", "processes"), [("256MiB", 2), ("16MiB", 1), ("4GiB", 32)])
def test_a_pipeline_has_as_many_processes_as_the_memory_allows(memory: str, processes: int) -> None:
    options = pipeline_options(read_settings({"memory_limit": memory}, {}))
    assert options.processes == processes
    stage = StageDeclaration("tests.edge.stages:double", workers=5)
    declared = DeclaredPipeline(PipelineDeclaration("p", [stage]), time=1, memory=0, processes=options.processes)
    assert declared._workers.turns.places == min(5, processes)


def test_what_was_set_stays_and_is_warned_of_with_what_to_set() -> None:
    given = {**DEFAULTS, "rings_size": 400 * MIB}
    assert "rings_size" not in fitting.fit_memory(given, {"rings_size"}, 512 * MIB)
    (line,) = fitting.above_memory(given, {"rings_size"}, 512 * MIB)
    assert line.startswith("--rings-size: ")
    assert f"at most {64 * MIB:,}" in line
    assert fitting.above_memory(given, {"rings_size"}, 8192 * MIB) == []
    (line,) = read_settings({"memory_limit": "512M", "rings_size": "400M"}, {}).warnings
    assert line.startswith("--rings-size: ")


@pytest.mark.parametrize("hard", [130, 1024, 4096, 11_099])
def test_sockets_that_nobody_counted_fit_the_descriptors(hard: int, descriptors: Any) -> None:
    descriptors(hard)
    settings = read_settings({}, {})
    assert sum(getattr(settings, name) for name in SOCKETS) == hard - fitting.SPARE
    assert settings.websockets >= settings.connections
    descriptors(11_100)
    assert read_settings({}, {}).websockets == 10_000


@pytest.mark.parametrize("given", [{"websockets": 900}, {"upstream": 500, "connections": 300}, {"websockets": 1}])
def test_what_was_counted_stays_and_the_rest_fits(given: dict[str, int], descriptors: Any) -> None:
    descriptors(1024)
    settings = read_settings(given, {})
    for name, number in given.items():
        assert getattr(settings, name) == number
    assert sum(getattr(settings, name) for name in SOCKETS) <= 924


@pytest.mark.parametrize(
    "given",
    [
        {"websockets": 10_000},
        {"websockets": 925},
        {"websockets": 900, "connections": 100, "upstream": 100},
        {"websockets": 600, "connections": 600, "upstream": 600},
        {"connections": 5000, "upstream": 5000},
    ],
)
def test_the_advice_is_exact(given: dict[str, int], descriptors: Any) -> None:
    descriptors(1024)
    with pytest.raises(SettingsError) as refused:
        read_settings(given, {})
    (line,) = str(refused.value).splitlines()
    words = line.partition(" or take ")[2].split()
    advised = {name[2:]: int(number) for name, number in zip(words[::2], words[1::2], strict=True)}
    assert read_settings({**given, **advised}, {})
    name = max(advised, key=lambda name: advised[name])
    with pytest.raises(SettingsError):
        read_settings({**given, **advised, name: advised[name] + 1}, {})
    needed = int(line.split("--", 1)[1].partition(": ")[2].split()[0])
    descriptors(needed)
    assert read_settings(given, {})
    descriptors(needed - 1)
    with pytest.raises(SettingsError):
        read_settings(given, {})


def test_too_few_for_anything(descriptors: Any) -> None:
    descriptors(100)
    with pytest.raises(
        SettingsError,
        match=r"--websockets: 124 descriptors are needed \(100 for the service itself\) and the limit is 100",
    ):
        read_settings({}, {})
