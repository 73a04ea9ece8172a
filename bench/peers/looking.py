"""The service, which looks 200 times a second how late its loop is, with buckets that are finer than its own."""

import sys

from service.__main__ import main
from service.ops import loop_lag

loop_lag._EVERY = 0.005  # type: ignore[misc]
loop_lag._BOUNDS = tuple(0.0001 * 1.15**number for number in range(90))  # type: ignore[misc, assignment]
sys.exit(main())
