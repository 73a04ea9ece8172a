"""A counting process that gives a pattern no more than a moment, and has no linear one."""

import sys

from service.work import patterns
from service.work.file_counts import process

process.PATIENCE = 0.2  # type: ignore[misc]
vars(patterns)["find_spec"] = lambda name: None

if __name__ == "__main__":
    process.main(sys.argv[1:])
