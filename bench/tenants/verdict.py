"""What a row comes to: each p99 with the attacker, beside what it is alone and what the machine makes of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["Times", "Verdict", "bound", "grows", "judge", "milliseconds"]

_FACTOR: Final = 1.5
"""By which a p99 may grow beside an attacker."""
_NOISE_MS: Final = 5.0
"""By which it may grow anyhow: below that the machine decides."""
_MOST_MS: Final = 250.0
"""By which it may grow in an attack of one moment."""
_MACHINE: Final = 1.2
"""By which it may be above the control, where the attacker was at another service."""

_GROWTH_MIB: Final = 8.0
"""How much more memory may be in use after the last of several attacks than after any earlier one."""

Times = Mapping[str, tuple[float, float]]
"""p50 and p99 in milliseconds, by what was done."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What grew too much, in words: of the service, and of the machine alone."""

    over: tuple[str, ...]
    machine: tuple[str, ...]
    """What is over its bound, and was so with the attacker at another service, too, within 20 %."""


def bound(own: float) -> float:
    """Return the highest p99 beside an attacker, in milliseconds, where it is this much alone."""
    return own * _FACTOR + _NOISE_MS


def judge(alone: Times, attacked: Times, control: Times, *, moment: bool) -> Verdict:
    """Hold every p99 against its bound; what was not measured any more is over it."""
    over, machine = list[str](), list[str]()
    for name, (_, own) in alone.items():
        p99, apart = (times[name][1] if name in times else None for times in (attacked, control))
        if p99 is not None and p99 <= (own + _MOST_MS if moment else bound(own)):
            continue
        text = f"{name} p99 {_ms(p99)}: {_ms(own)} alone, {_ms(apart)} with the attacker at another service"
        of_machine = p99 is not None and apart is not None and p99 <= apart * _MACHINE
        (machine if of_machine else over).append(text)
    return Verdict(tuple(over), tuple(machine))


def grows(kept: Sequence[float]) -> bool:
    """Return whether clearly more memory is in use after the last of several attacks than after any earlier one."""
    return kept[-1] > max(kept[:-1]) + _GROWTH_MIB


def milliseconds(value: float | None) -> str:
    """Return a time with three digits, or what stands for one that there is not."""
    return "none" if value is None else f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _ms(value: float | None) -> str:
    return "not measured" if value is None else f"{milliseconds(value)} ms"
