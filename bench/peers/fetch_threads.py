"""Fetch URLs with requests in ten threads: ``get`` as in tutorials, or with a session for each thread."""

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import requests

local = threading.local()


def fetch(url: str) -> int:
    if not hasattr(local, "session"):
        local.session = requests.Session()
    return len(local.session.get(url, timeout=10).text)


def get(url: str) -> int:
    return len(requests.get(url, timeout=10).text)


kind, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
urls = [f"http://127.0.0.1:{port}/u{number}" for number in range(count)]
begin = time.monotonic()
with ThreadPoolExecutor(10) as pool:
    sizes = sum(pool.map(get if kind == "get" else fetch, urls))
seconds = time.monotonic() - begin
if sizes != 1024 * count:
    raise RuntimeError(f"{sizes} bytes of {1024 * count}")
print(seconds, flush=True)
