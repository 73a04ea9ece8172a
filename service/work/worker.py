"""The worker process: carries out one step after another, until the service closes its end of the socket.

It is given the number of the socket, the bytes of memory that it may have, and the modules with the steps.
"""

import importlib
import os
import socket
import sys
import time
import traceback
from collections.abc import Sequence
from typing import Final

import msgspec

from service.runtime.child_process import limit
from service.work.errands import Errand, ErrandResult, pack, receive, send, unpack
from service.work.guarded import guarded
from service.work.step import STEPS, Body, Made, StepFailed, result_of, sendable

__all__ = ["carry_out", "main"]

_TRACEBACK: Final = 2000
"""Characters of it that the log gets: the last ones say most."""


def main(arguments: Sequence[str]) -> None:
    """Serve errands."""
    number, memory, *modules = arguments
    limit(int(memory))
    os.nice(10)  # the loop goes first
    for module in modules:
        importlib.import_module(module)
    # Decoders write a line for each thing that they do not like in hostile bytes, past every bound of the log.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    connection = socket.socket(fileno=int(number))
    # What a step starts neither answers in the place of this process, nor holds the socket open after its end.
    connection.set_inheritable(False)
    os.register_at_fork(after_in_child=connection.close)
    send(connection, ErrandResult(), pack([]))  # it is ready
    while True:
        datagram, descriptor = receive(connection)
        if not datagram:
            return
        answer, parts = carry_out(msgspec.json.decode(datagram, type=Errand), descriptor)
        descriptor = pack(parts)
        try:
            send(connection, answer, descriptor)
        finally:
            os.close(descriptor)


def carry_out(errand: Errand, descriptor: int) -> tuple[ErrandResult, list[bytes | memoryview]]:
    """Carry out one step, and return the outcome."""
    began = time.perf_counter()
    answer, parts = _carried_out(errand, descriptor)
    return msgspec.structs.replace(answer, took=time.perf_counter() - began), parts


def _carried_out(errand: Errand, descriptor: int) -> tuple[ErrandResult, list[bytes | memoryview]]:
    try:
        step = STEPS[errand.step]
        parameters = msgspec.json.decode(errand.parameters, type=step.parameters)
        body = Body(memoryview(unpack(descriptor)), errand.type, errand.url)
        made = guarded(step.function, body, parameters)
        return _made(errand.step, made)
    except StepFailed as error:
        return ErrandResult(failed=str(error)), []
    except MemoryError:
        return ErrandResult(failed="needs more memory than a step may have"), []
    except Exception as error:
        return ErrandResult(broken=sendable("".join(traceback.format_exception(error))[-_TRACEBACK:])), []


def _made(name: str, made: Made) -> tuple[ErrandResult, list[bytes | memoryview]]:
    fields = result_of(name, made)
    product = made.product
    if product is None:
        return ErrandResult(len(fields), len(made.tally)), [fields, made.tally]
    return ErrandResult(len(fields), len(made.tally), product.type), [fields, made.tally, product.data]


if __name__ == "__main__":
    main(sys.argv[1:])
