"""The worker process's side of a stage: a step whose parameter is the function. The service never imports it.

Between two processes anything goes that pickle takes, and the service passes it on unread. What the service itself
gets from a process are bytes: a process that reads hostile pictures may not send it a pickle.
"""

import pickle
from typing import Final

import msgspec

from service.work.pipelines.item import Output
from service.work.pipelines.stage_calls import BYTES, PICKLED, STEP, function_of
from service.work.step import Body, Made, Product, step

__all__ = ["StageCall", "stage"]

_PROTOCOL: Final = 5


class StageCall(msgspec.Struct, frozen=True):
    """Which function to call, as MODULE:FUNCTION."""

    run: str


@step(STEP, StageCall, runs="process")
def stage(body: Body, parameters: StageCall) -> Made:
    """Call the function with the value that the body is."""
    # Pickles come from another stage's process, by way of the service.
    value = pickle.loads(body.data) if body.type == PICKLED else bytes(body.data)  # noqa: S301
    output = function_of(parameters.run)(value)
    made, facts = (output.value, output.facts) if isinstance(output, Output) else (output, {})
    if isinstance(made, bytes | bytearray | memoryview):
        return Made({"facts": dict(facts)}, Product(bytes(made), BYTES))
    return Made({"facts": dict(facts)}, Product(pickle.dumps(made, _PROTOCOL), PICKLED))
