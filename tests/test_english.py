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
    r"(?<!there\s)\b(?:is|are|was|were|be|been) no (?!longer\b|more\b)": "say that it is not a ..., or has no ...",
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
    r"\bat the most\b": "at most",
    r"\bnothing of (?:it|them|what)\b": "none of it",
    r"\b(?:for|in|of|after|at|by|than|about|most) so (?:many|much)\b": "this many, that much",
    r"\bas a rule\b": "usually",
    r"\bbelongs? into\b": "belongs in",
    r"\bbugs? of ours\b": "a bug in sluice",
    r"(?<!long\s)\bas (?!long\b)(?:\w+ |(?:the|a) \w+ )ha(?:s|ve) (?:it|them)\b": "in the form of, as in, as ... says",
    r"\b(?:is|are|was|were) had\b": "was received, delivered, read",
    r"\b(?:of|to|for|from|by|with|than) who (?!is\b|was\b|may\b|else\b)[a-z]+": "name the person or thing",
    r"\bWho may \w+ may\b": "name the person or thing",
    r"\bsuch as (?:are|make|have)\b": "those that",
}
FORBIDDEN = {pattern.replace(" ", r"\s+"): better for pattern, better in FORBIDDEN.items()}
"""Patterns to search for, also across the end of a line, and what to write instead."""
_ANY = re.compile(rf"\b(?=[abfilnotsw])(?:{'|'.join(FORBIDDEN)})", re.IGNORECASE)
"""All of them: each begins with a word, and that with one of these letters, which makes the search four times as fast."""
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
    """Yield texts of a file that people read, each with its line, without what is quoted as code.

    Of Python these are comments, whose lines are joined, strings, and names, whose words are separated.
    """
    text = path.read_text()
    if not _ANY.search(re.sub(r"\n\s*#|[_`]", " ", text)):
        # It takes seconds to tokenize all of them.
        return
    if path.suffix == ".py":
        yield from _prose_of_python(text)
    else:
        yield 1, re.sub(r"`[^`\n]*`", "``", text)


def _prose_of_python(text: str) -> Iterator[tuple[int, str]]:
    comments: list[tuple[int, str]] = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            comments.append((token.start[0], token.string.lstrip("#")))
        elif token.type != tokenize.NL and comments:
            yield comments[0][0], "\n".join(comment for _, comment in comments)
            comments.clear()
        if token.type == tokenize.STRING:
            yield token.start[0], re.sub(r"``[^`]*``", "````", token.string)
        elif token.type == tokenize.NAME:
            yield token.start[0], token.string.replace("_", " ")


def findings(path: Path) -> list[str]:
    """Return a line for each forbidden construction."""
    return [
        f"{path.name}:{first + text.count(chr(10), 0, found.start())}: {' '.join(found.group().split())!r}: {better}"
        for first, text in prose(path)
        for pattern, better in FORBIDDEN.items()
        for found in re.finditer(pattern, text, re.IGNORECASE)
    ]


def test_it_is_plain() -> None:
    assert len(DOCUMENTS) > 150
    assert [line for path in DOCUMENTS if path.name not in EXEMPT for line in findings(path)] == []


@pytest.mark.parametrize(
    "line",
    [
        "localhost is no address",
        "Whoever asks gets an answer",
        "what is no HTTP is refused",
        "the pool lets go of the connection",
        "clients are told the reason",
        "such a position is as good as none",
        "the event says what came of the job",
        "it counts what has become of each URL",
        "the store takes note of a write",
        "for want of memory",
        "the page cannot be had",
        "the clients of whom it speaks",
        "publishes are as fast as ever",
        "one of them at the most",
        "nothing of it is stored on disk",
        "wait for so many seconds",
        "it runs once as a rule",
        "they belong into files",
        "a bug of ours",
        "a position as HTTP has it",
        "all of it was had before the cut",
        "the address of who comes from there",
        "Who may fetch may run steps",
        "such as make topics are refused",
    ],
)
def test_each_construction_is_found(tmp_path: Path, line: str) -> None:
    before, _, last = line.rpartition(" ")
    sources = {
        "a.md": line,
        "b.md": f"{before}\n{last}",
        "a.py": f'"""{line}"""',
        "b.py": f"x = 1  # {line}",
        "c.py": f"def test_{line.replace(' ', '_')}(): ...",
        "d.py": f"# {before}\n# {last}\nx = 1",
        "e.py": f'"""{before}\n    {last}"""',
    }
    for name, text in sources.items():
        (tmp_path / name).write_text(text)
        assert findings(tmp_path / name)


@pytest.mark.parametrize(
    "line",
    [
        "there is no batch with this id",
        "there\nis no batch with this id",
        "the file is no longer open",
        "`told` is the name of a field",
        "a lock is held as long as one thread has it",
    ],
)
def test_what_is_english_is_not(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.md").write_text(line)
    assert findings(tmp_path / "a.md") == []
