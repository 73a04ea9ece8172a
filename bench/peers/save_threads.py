"""Files with ten threads and requests, as tutorials write it."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

urls, out = Path(sys.argv[1]).read_text().split(), Path(sys.argv[2])
out.mkdir()


def save(url: str) -> None:
    response = requests.get(url, timeout=10)
    (out / url.rsplit("/", 1)[1]).write_bytes(response.content)


with ThreadPoolExecutor(10) as pool:
    list(pool.map(save, urls))
