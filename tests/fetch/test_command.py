"""What is refused before the first fetch: each in one line, with exit code 2."""

import re
from argparse import ArgumentParser
from pathlib import Path

import pytest

from service.__main__ import main
from service.commands.fetch.options import add_options, options_of


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["-i", "DIR", "http://h/"], "--input: DIR: Is a directory"),
        (["-i", "DIR/none"], "--input: DIR/none: No such file or directory"),
        (["-i", "DIR/file", "-i", "DIR/file"], "--input: give one list"),
        (["-H", "x", "http://h/"], "--header"),
        (["-H", "x: \udce9", "http://h/"], "--header"),
        (["--per-host", "0", "http://h/"], "--per-host: 0 is not between 1 and 10000"),
        (["--concurrency", "10001", "http://h/"], "--concurrency"),
        (["--max-bytes", "-1", "http://h/"], "--max-bytes"),
        (["--max-bytes", "0", "http://h/"], "--max-bytes"),
        (["--timeout", "nan", "http://h/"], "--timeout"),
        (["--retries", "-1", "http://h/"], "--retries"),
        (["--fail-on", "never", "http://h/"], "--fail-on: 'never' is not one of"),
        (["--allow-port", "x", "http://h/"], "--allow-port: 'x' is not a port"),
        (["--allow-net", "10.0.0.1/8", "http://h/"], "--allow-net"),
        (["--steps", "x", "http://h/"], "--steps: "),
        (["--steps", "[]", "http://h/"], "--steps: 1 to 16"),
        (["--steps", '[{"step":"no"}]', "http://h/"], "--steps: [0].step: 'no'"),
        (["--steps", '[{"step":"save"}]', "http://h/"], "--steps: [0]: save needs --blobs "),
        (["-o", "", "http://h/"], "--output: the folder has no name"),
        (["-o", "DIR/file", "http://h/"], "--output: DIR/file: "),
        (["-o", "DIR/file/below", "http://h/"], "--output: DIR/file/below: Not a directory"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], named: str
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["fetch", *(word.replace("DIR", str(tmp_path)) for word in arguments)]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("sluice: " + named.replace("DIR", str(tmp_path)))
    assert "Errno" not in err


def test_the_help_names_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fetch", "--help"])
    text = capsys.readouterr().out
    codes = text.split("EXIT CODES")[1].split("EXAMPLES")[0]
    assert re.findall(r"^  (\d+) ", codes, re.MULTILINE) == ["0", "1", "2", "130", "141"]
    assert max(map(len, codes.splitlines())) < 80


def test_a_header_that_is_given_twice_is_sent_with_both_values() -> None:
    parser = ArgumentParser()
    add_options(parser)
    given = ["-H", "X-A: 1", "-H", "x-a:2", "-H", "Cookie: a=b", "-H", "cookie: c=d", "-H", "Y:"]
    assert options_of(parser.parse_args(given)).headers == {"X-A": "1, 2", "Cookie": "a=b; c=d", "Y": ""}
