"""The command line of ``sluice count``: what is refused, and what its help says."""

import re
from argparse import ArgumentParser, Namespace

import pytest

from service.__main__ import main
from service.commands.count.options import add_options, separator_of


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["f"], "one of the arguments --field --regex is required"),
        (["f", "--field", "1", "--regex", "(a)"], "not allowed with argument --field"),
        (["f", "--field", "0"], "argument --field: 0 is not between 1 and 1000"),
        (["f", "--field", "x"], "argument --field: 'x' is not a whole number"),
        (["f", "--field", "1", "--top", "0"], "argument --top: 0 is not between 1 and 100000"),
        (["f", "--field", "1", "--processes", "65"], "argument --processes: 65 is not between 1 and 64"),
        (["f", "--regex", "a"], "argument --regex: has 0 groups, and needs exactly one"),
        (["f", "--regex", "("], "argument --regex: "),
        (["f", "--regex", "(\udcff)"], r"argument --regex: it is not UTF-8; \xHH is a byte"),
        (["f", "--field", "1", "--separator", ""], "argument --separator: '' does not have 1 to 16 bytes"),
        (["f", "--field", "1", "--separator", r"\x0a"], "has a line break"),
    ],
)
def test_what_cannot_be_used_is_said(capfd: pytest.CaptureFixture[str], arguments: list[str], says: str) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["count", *arguments])
    assert stop.value.code == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert says in err.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["f", "--regex", "(a)", "--separator", ","], "--separator goes with --field"),
        (["f", "-", "--field", "1", "--spark", "local"], "--spark reads files, not standard input"),
        (["f", "--field", "1", "--spark", "local", "--processes", "2"], "--processes goes without --spark"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(
    capfd: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    assert main(["count", *arguments]) == 2
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"sluice: {says}")


@pytest.mark.parametrize(
    ("text", "separator"),
    [
        (",", b","), (r"\t", b"\t"), ("\t", b"\t"), (r"\x01", b"\1"), (r"\xFE", b"\xfe"), ("\udcfe", b"\xfe"),
        ("þ", "þ".encode()), (r"\\t", rb"\t"), (r"\n", rb"\n"), ("||", b"||"), (r"\xg", rb"\xg"),
    ],
)  # fmt: skip
def test_separators_are_bytes(text: str, separator: bytes) -> None:
    assert separator_of(text) == separator


def test_the_help_names_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["count", "--help"])
    text = capsys.readouterr().out
    codes = text.split("EXIT CODES")[1].split("EXAMPLES")[0]
    assert re.findall(r"^  (\d+) ", codes, re.MULTILINE) == ["0", "1", "2", "130", "141"]
    assert max(map(len, text.split("INPUT")[1].splitlines())) < 80


def test_the_examples_of_the_help_are_right() -> None:
    parser = ArgumentParser()
    add_options(parser)
    assert parser.parse_args(["a", "--field", "1"]) == Namespace(
        files=["a"],
        field=1,
        regex=None,
        separator=None,
        top=20,
        processes=None,
        spark=None,
        json=False,
        quiet=False,
    )
    assert parser.parse_args(["a", "--regex", r'" (5\d\d) ']).regex == r'" (5\d\d) '
