"""The prose of code, help and documents: the constructions that readers would have to translate stay out."""

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FORBIDDEN = {
    r"\b(?:who|what|which|whom)ever\b": "name the person or thing: the client, any text, the first of them",
    r"(?<!there )\b(?:is|are|was|were|be|been) no (?!longer\b|more\b)": "say that it is not a ..., or has no ...",
    r"\bwhat is no\b": "say what is not ..., or malformed ...",
    r"\blet(?:s|ting)? go\b": "released, freed, dropped",
    r"\btold\b": "notified, reported, sent, configured",
    r"\bas good as none\b": "say that it carries no state, or does not count",
    r"\bwhat (?:has |have )?(?:came|comes?|became|becomes?) of\b": "the outcome of, the result of, what happens to",
    r"\b(?:take|takes|took|taking) note\b": "record, count",
    r"\bfor want of\b": "for lack of",
    r"\bbe had\b": "fetched, opened, read, installed",
    r"\bof whom\b": "name the person or thing",
    r"\bas ever\b": "as usual, as before",
}
_ANY = re.compile("|".join(FORBIDDEN), re.IGNORECASE)
DOCUMENTS = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "service" / "edge" / "static").glob("*"),
    *(ROOT / "service").rglob("*.py"),
    *(ROOT / "loadtest").rglob("*.py"),
    *(path for path in (ROOT / "examples").rglob("*.*") if "__pycache__" not in path.parts),
    *(ROOT / "tests").rglob("*.py"),
    *(ROOT / "tests").rglob("*.*js"),
    *(ROOT / "bench").rglob("*.py"),
    *(ROOT / ".ci").glob("*"),
    ROOT / "x",
]
EXEMPT = {"licences.md", "test_english.py"}
"""Names of other people's licences, and this list."""


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a file that people read, without what is quoted as code.

    Of Python these are comments, strings, and names, whose words are separated.
    """
    text = path.read_text()
    if not _ANY.search(re.sub(r"[_`]", " ", text)):
        # It takes seconds to tokenize all of them.
        return
    if path.suffix != ".py":
        yield from enumerate(re.sub(r"`[^`\n]*`", "``", text).splitlines(), 1)
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in (tokenize.COMMENT, tokenize.STRING):
            lines = re.sub(r"``[^`]*``", "````", token.string).splitlines()
            yield from enumerate(lines, token.start[0])
        elif token.type == tokenize.NAME:
            yield token.start[0], token.string.replace("_", " ")


def findings(path: Path) -> list[str]:
    """Return a line for each forbidden construction."""
    return [
        f"{path.name}:{number}: {found.group()!r}: {better}"
        for number, line in prose(path)
        for pattern, better in FORBIDDEN.items()
        if (found := re.search(pattern, line, re.IGNORECASE))
    ]


def test_it_is_plain() -> None:
    assert len(DOCUMENTS) > 150
    assert [line for path in DOCUMENTS if path.name not in EXEMPT for line in findings(path)] == []


@pytest.mark.parametrize(
    "line",
    [
        "x is no address",
        "Whoever asks",
        "what is no HTTP",
        "it lets go of it",
        "clients are told",
        "it is as good as none",
        "what came of it",
        "what has become of each",
        "it takes note of a write",
        "for want of memory",
        "it cannot be had",
        "clients of whom it speaks",
        "as fast as ever",
    ],
)
def test_each_construction_is_found(tmp_path: Path, line: str) -> None:
    sources = {
        "a.md": line,
        "a.py": f'"""{line}"""',
        "b.py": f"x = 1  # {line}",
        "c.py": f"def test_{line.replace(' ', '_')}(): ...",
    }
    for name, text in sources.items():
        (tmp_path / name).write_text(text)
        assert findings(tmp_path / name)


@pytest.mark.parametrize("line", ["there is no topic", "it is no longer there", "`told` is a field"])
def test_what_is_english_is_not(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.md").write_text(line)
    assert findings(tmp_path / "a.md") == []
