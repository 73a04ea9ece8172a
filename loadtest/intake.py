"""What comes in to the clients of a process: read, known again, and what is neither counted."""

from argparse import Namespace
from time import monotonic

from loadtest.epoll_reader import EpollReader
from loadtest.payloads import Payloads, Unrecognised
from loadtest.read_cache import ReadCache
from loadtest.recognition import finder
from loadtest.tally import Tally
from loadtest.targets import Target

__all__ = ["Intake"]


class Intake:
    """One for all clients of a process."""

    def __init__(self, target: Target, options: Namespace, tally: Tally) -> None:
        self.payloads = Payloads(
            target.MARKER, target.OPENING, options.run, monotonic(), target.TOPIC, finder(options.recognise)
        )
        self.reads = ReadCache(self.payloads, target.SEPARATOR, target.POSITION if options.resumes else None)
        self.epoll = EpollReader(self.reads)
        self.unrecognised = Unrecognised()
        self._tally = tally
        self._reported = 0

    def collect(self) -> None:
        """Count what was noted without a tally."""
        reads, count = self.reads, self._tally.count
        if reads.foreign:
            count("of_others", reads.foreign)
        if reads.altered:
            count("altered", reads.altered)
        if self.payloads.republished:
            count("republished", self.payloads.republished)
        reads.foreign = reads.altered = self.payloads.republished = 0
        if self.unrecognised.count > self._reported:
            count("unrecognised", self.unrecognised.count - self._reported)
            self._reported = self.unrecognised.count
