"""Files with ten threads and requests, as tutorials write it; prints the seconds without its start."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

urls, out = Path(sys.argv[1]).read_text().split(), Path(sys.argv[2])
out.mkdir()


def save(url: str) -> None:
    response = requests.get(url, timeout=10)
    (out / url.rsplit("/", 1)[1]).write_bytes(response.content)


begin = time.monotonic()
with ThreadPoolExecutor(10) as pool:
    list(pool.map(save, urls))
print(time.monotonic() - begin, flush=True)
