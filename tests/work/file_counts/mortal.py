"""A counting process with a small table that kills itself at a line ``die FILE``, as often as FILE says."""

import os
import re
import signal
import sys
from pathlib import Path

from service.work.counting import LineCounter
from service.work.file_counts import process

vars(process)["TABLE"] = 1000


class Counter(LineCounter):
    def feed(self, data: bytes | memoryview) -> None:
        super().feed(data)
        found = re.search(rb"die ([^ \n]+)\n", bytes(data))
        if found is not None and (times := int(Path(os.fsdecode(found[1])).read_text())):
            Path(os.fsdecode(found[1])).write_text(str(times - 1))
            os.kill(os.getpid(), signal.SIGKILL)


vars(process)["LineCounter"] = Counter

if __name__ == "__main__":
    process.main(sys.argv[1:])
