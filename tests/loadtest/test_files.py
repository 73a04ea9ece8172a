"""Users and messages from files, and stages of rates; mistakes are reported with their line."""

from pathlib import Path

import orjson
import pytest

from loadtest.files import NOBODY, read_messages, read_users
from loadtest.payloads import payload
from loadtest.schedule import parse_stages


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "file"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    "text",
    [
        "\ufefftoken,path,header.X-Room\nt1,/a,blue\nt2,,\n",
        '{"token":"t1","path":"/a","headers":{"X-Room":"blue"}}\n\n{"token":"t2"}\n',
    ],
)
def test_users_are_read(tmp_path: Path, text: str) -> None:
    assert read_users(written(tmp_path, text)) == [
        {**NOBODY, "path": "/a", "headers": [["X-Room", "blue"], ["Authorization", "Bearer t1"]], "token": "t1"},
        {**NOBODY, "headers": [["Authorization", "Bearer t2"]], "token": "t2"},
    ]


@pytest.mark.parametrize(
    "text",
    [
        'login,topics,messages,headers\nann,a b,"[{""x"": 1}, ""hi""]","{""A"":""b""}"\nbob,"[""c d""]",hi,\n',
        (
            '{"login":"ann","topics":["a","b"],"messages":[{"x":1},"hi"],"headers":{"A":"b"}}\n'
            '{"login":"bob","topics":["c d"],"messages":["hi"]}\n'
        ),
    ],
)
def test_users_have_topics_and_messages_of_their_own(tmp_path: Path, text: str) -> None:
    ann, bob = read_users(written(tmp_path, text))
    assert (ann["login"], ann["topics"], ann["headers"]) == ("ann", ["a", "b"], [["A", "b"]])
    assert [orjson.loads(body) for body in ann["messages"]] == [{"x": 1}, "hi"]
    assert (bob["topics"], bob["messages"]) == (["c d"], ['"hi"'])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"headers":"x"}', "line 1: headers is not a JSON object"),
        ('{"topics":{"a":1}}', "line 1: topics: has to be a list"),
        ("topics\n[x\n", "line 2: topics: '\\[x' is not a JSON list"),
        ("", "has no users"),
        ("token\n", "has no users"),
        ('{"token":"x"}\n{"token"', "line 2: not a JSON object"),
        ("name\nx\n", "line 2: 'name' is not one of"),
        ("header.A B\nx\n", "line 2: --header: 'A B'"),
    ],
)
def test_wrong_users_are_reported_with_their_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_users(written(tmp_path, text))


def test_messages_are_json_or_strings(tmp_path: Path) -> None:
    bodies = read_messages(written(tmp_path, '{"a": 1}\nhello "you"\n\n[2]\n'))
    assert [orjson.loads(payload("0123abcd", 1, 2.0, 0, body))["body"] for body in bodies] == [
        {"a": 1},
        'hello "you"',
        [2],
    ]
    with pytest.raises(ValueError, match="has no messages"):
        read_messages(written(tmp_path, "\n"))
    with pytest.raises(ValueError, match="cannot be read"):
        read_messages(str(tmp_path / "nowhere"))


def test_a_file_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadtest.files._LARGEST", 1000)
    with pytest.raises(ValueError, match="--messages: /dev/zero cannot be read: it has more than 1,000 bytes"):
        read_messages("/dev/zero")


def test_stages_follow_each_other_from_nothing() -> None:
    schedule = parse_stages(["10s:100", "0s:50", "1m:50", "10:0"])
    assert [(one.first, one.last, one.seconds) for one in schedule.stages] == [
        (0, 100, 10),
        (50, 50, 60),
        (50, 0, 10),
    ]
    assert (schedule.duration, schedule.count) == (80, 500 + 3000 + 250)


@pytest.mark.parametrize("texts", [["x"], ["10s"], ["10s:-1"], ["10h:5"], ["5s:0"], ["0s:5"], []])
def test_wrong_stages_are_reported(texts: list[str]) -> None:
    with pytest.raises(ValueError, match="--stage"):
        parse_stages(texts)
