"""``python -m tests.fuzz TARGET [--seconds N] [--inputs N] [--keep FOLDER]``: atheris, guided by the service's branches."""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["service"]):
    from tests.fuzz.targets import TARGETS

from service.core.sessions.session import METHODS

_HERE = Path(__file__).parent
_WORDS = [
    "jsonrpc", "2.0", "method", "params", "topic", "since", "epoch", "offset", "on_lag", "newest", "oldest", "data",
    "urls", "requests", "options", "headers", "http://", "https://", "127.0.0.1", "localhost", "[::ffff:7f00:1]",
    "0x7f", "%00", "@", "\\", "\u3002", "\uff11", "xn--", "//", "..", "#", "?", "<meta charset=", "<?xml encoding='", "<!DOCTYPE ", "<!ENTITY ", "<![CDATA[", "<pre>",
    "<rss>", "<item>", "xmlns:a=", "&amp;", "\\ud800", "1e400", "HTTP/1.1 200 ", "\r\n", "\r\n\r\n", "Content-Length: ",
    "Transfer-Encoding: chunked", "Content-Encoding: gzip", "Connection: ", "0\r\n\r\n", *METHODS,
]  # fmt: skip


def seeds(target: str) -> list[bytes]:
    """Return the corpus of a target: a JSON string a line, which stands for its UTF-8."""
    lines = (_HERE / "corpus" / f"{target}.txt").read_text().splitlines()
    return [json.loads(line).encode("utf-8", "surrogatepass") for line in lines]


def main() -> None:
    """Fuzz one target; libFuzzer ends the process: 0 for nothing found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--inputs", type=int, default=-1, help="end after this many")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", help="folder for what reaches new branches, read again by the next run")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, words = Path(name, "seeds"), Path(name, "words")
        folder.mkdir()
        for number, seed in enumerate(seeds(options.target)):
            (folder / str(number)).write_bytes(seed)
        escaped = ("".join(f"\\x{byte:02x}" for byte in word.encode()) for word in _WORDS)
        words.write_text("".join(f'"{word}"\n' for word in escaped))
        kept = Path(options.keep or name, "found")
        kept.mkdir(parents=True, exist_ok=True)
        limits = [f"-max_total_time={options.seconds}", f"-runs={options.inputs}", "-max_len=4096", "-timeout=5"]
        files = [f"-dict={words}", f"-artifact_prefix={options.keep or '.'}/", str(kept), str(folder)]
        atheris.Setup([sys.argv[0], f"-seed={options.seed}", *limits, *files], TARGETS[options.target])
        atheris.Fuzz()


if __name__ == "__main__":
    main()
