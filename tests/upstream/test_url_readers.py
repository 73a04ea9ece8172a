"""Where a browser's reading of a URL and ours both take a text for one, both ask the same host for the same."""

import json
import random
import re
import shutil
import subprocess

import pytest

from service.core.fetching.dial_policy import Policy
from service.core.fetching.target import Refusal, Target, check_redirect, check_url

PUBLIC = Policy()
BASE = "https://a.example/x/y?q#f"
WORDS = [
    "/", "//", "..", ".", "a", "b.example", "http:", "https:", "?", "#", "%2e", "%2F", "%7e", "\u00e9", "\u4e2d", " ", "|",
    '"', "<", ":", "@", "[", "]", "80", ":8080", "..%2f", "%", "'", "^", "{", "}", "`", "~", "+", "&", "=", ";", ",", "*", "$",
    "!", "(", ")", "%zz", "%e9", "\u00a0", "\U0001f98a",
]  # fmt: skip
HOSTS = [
    "A.Example", "b\u00fccher.example", "FA\u00df.example", "\u2603.example", "xn--fiqs8s.example", "a.example.",
    "8.8.8.8", "8.8.2056", "0x8.8.8.8", "[2001:4860:4860:0::8888]", "a_b.example", "\u4e2d\u56fd\u3002example", "\uff41.example",
    "a..example", "-a.example", "a\u200d.example", "a\u0301.example", "%61.example", "u@a.example", "localhost",
]  # fmt: skip
NODE = """
const {base, texts} = JSON.parse(require("fs").readFileSync(0));
const read = text => {
  try {
    const url = new URL(text, base);
    return [url.protocol, url.username + url.password, url.hostname, url.port, url.pathname + url.search];
  } catch { return null; }
};
console.log(JSON.stringify(texts.map(read)));
"""


def random_texts(count: int) -> list[str]:
    chance = random.Random(11)
    texts = ["".join(chance.choices(WORDS, k=chance.randint(0, 7))) for _ in range(count)]
    return texts + [
        f"http://{chance.choice(HOSTS)}{chance.choice(['', ':', ':80', ':8443'])}/{text}" for text in texts
    ]


def asked(text: str) -> str:
    """Write a path and query as we do: browsers leave some of what no URL has."""
    encoded = re.sub(r"[^!#-;=?-\[\]_a-z~]", lambda found: f"%{ord(found[0]):02X}", text)
    return encoded.replace("%27", "'").removesuffix("?")


def agrees(target: Target, browser: list[str]) -> bool:
    scheme, user, host, port, path = browser
    return (
        (scheme, user) == (f"{target.scheme}:", "")
        and host.strip("[]").removesuffix(".") == target.host
        and int(port or {"http:": 80, "https:": 443}[scheme]) == target.port
        and asked(path) == target.request_target.removesuffix("?")
    )


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
def test_a_browser_asks_the_same() -> None:
    base = check_url(BASE, PUBLIC)
    assert isinstance(base, Target)
    texts = random_texts(4000)
    given = json.dumps({"base": BASE, "texts": texts})
    found = subprocess.run(
        ["node", "-e", NODE], input=given, capture_output=True, text=True, check=True, timeout=60
    )
    compared = 0
    for text, browser in zip(texts, json.loads(found.stdout), strict=True):
        for ours in (check_redirect(base, text.encode().decode("latin-1"), PUBLIC), check_url(text, PUBLIC)):
            if browser is not None and not isinstance(ours, Refusal):
                compared += 1
                assert agrees(ours, browser), (text, ours, browser)
    assert compared > 5000
