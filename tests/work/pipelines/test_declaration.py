"""The file that declares pipelines, and what is said of one that cannot run."""

from pathlib import Path

import pytest

from service.config.configuration import SettingsError, read_settings
from service.work.pipelines.declaration import StageDeclaration, read_pipelines
from service.work.pipelines.opening import PipelinesUnusable, open_pipelines
from service.work.pipelines.options import PipelineOptions

HERE = "tests.edge.stages"
ONE = '[[pipelines]]\nname = "p"\n[[pipelines.stages]]\n'


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_text(f'{ONE}run = "{HERE}:double"\n')
    (pipeline,), wrong = read_pipelines(str(file))
    assert wrong == []
    assert pipeline.stages == [
        StageDeclaration(f"{HERE}:double", name="double", workers=1, place="process", queue=4)
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[pipelines", "is not TOML"),
        ("", "missing required field `pipelines`"),
        ("pipelines = 3", "Expected `array`, got `int` - at pipelines"),
        ('[[pipelines]]\nname = "a b"\nstages = []', "at pipelines[0].name"),
        ('[[pipelines]]\nname = "p"\nstages = []', "at pipelines[0].stages"),
        (f'{ONE}run = "double"', "at pipelines[0].stages[0].run"),
        (f'{ONE}run = "{HERE}:double"\nplace = "moon"', "at pipelines[0].stages[0].place"),
        (f'{ONE}run = "{HERE}:double"\nworkers = 0', "at pipelines[0].stages[0].workers"),
        (f'{ONE}run = "{HERE}:double"\nworker = 1', "unknown field `worker`"),
        (f'{ONE}run = "{HERE}:nowhere"', f"pipeline p, stage nowhere: {HERE}:nowhere cannot be used (AttributeError"),
        (f'{ONE}run = "no.module:double"', "cannot be used (ModuleNotFoundError"),
        (f'{ONE}run = "{HERE}:NOTHING"', "cannot be used (TypeError: NOTHING is not a function)"),
        (f'{ONE}run = "{HERE}:slowly"\nplace = "thread"', 'which runs with place = "loop" alone'),
        (f'{ONE}run = "{HERE}:double"\n[[pipelines.stages]]\nrun = "{HERE}:double"', "two stages are called double"),
        (f'{ONE}run = "{HERE}:double"\n{ONE}run = "{HERE}:double"', "two pipelines are called p"),
    ],
)  # fmt: skip
def test_each_mistake_is_named_at_the_start_and_by_check_config(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "p.toml"
    file.write_text(text)
    with pytest.raises(SettingsError) as raised:
        read_settings({"pipelines": str(file), "port": 0}, {})
    assert f"--pipelines: {file}" in str(raised.value)
    assert says in str(raised.value)
    with pytest.raises(PipelinesUnusable) as unusable:
        open_pipelines(PipelineOptions(file=str(file)))
    assert str(unusable.value) == str(raised.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert "cannot be read" in read_pipelines(str(tmp_path / "none"))[1][0]
    (tmp_path / "latin").write_bytes(b"\xff")
    assert "is not UTF-8" in read_pipelines(str(tmp_path / "latin"))[1][0]
