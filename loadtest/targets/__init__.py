"""The servers that can be driven, by what ``--target`` takes."""

from loadtest.targets.base import Position, Target
from loadtest.targets.centrifugo import Centrifugo
from loadtest.targets.echo import EchoServer
from loadtest.targets.graphql_ws import GraphqlWs
from loadtest.targets.http_streams import Lines, Sse
from loadtest.targets.loading import load_class
from loadtest.targets.nchan import Nchan
from loadtest.targets.phoenix import Phoenix
from loadtest.targets.sluice import Sluice
from loadtest.targets.socketio import SocketIO
from loadtest.targets.stomp import Stomp
from loadtest.targets.templates import Chat

__all__ = ["TARGETS", "Position", "Target", "target_of", "unable"]

TARGETS: dict[str, type[Target]] = {
    "sluice": Sluice,
    "echo": EchoServer,
    "nchan": Nchan,
    "sse": Sse,
    "ndjson": Lines,
    "chat": Chat,
    "socketio": SocketIO,
    "graphql-ws": GraphqlWs,
    "phoenix": Phoenix,
    "stomp": Stomp,
    "centrifugo": Centrifugo,
}


def unable(target: str, scenario: str) -> str | None:
    """Return why a target cannot take part in a scenario, if it cannot; raises ValueError for an unknown one."""
    able = target_of(target).CAN
    return (
        None
        if scenario in able
        else f"--target: {target} can take part in {', '.join(sorted(able))}; not in {scenario}"
    )


def target_of(text: str) -> type[Target]:
    """Return the adapter of a name, of a file, or of ``module:Class``; raises ValueError."""
    if text in TARGETS:
        return TARGETS[text]
    if ":" not in text and not text.endswith(".py"):
        raise ValueError(
            f"--target: {text!r} is neither {', '.join(TARGETS)} nor like ./mine.py or my_module:MyTarget"
        )
    return load_class(text)
