"""The dashboard of docs/: each query names metrics and labels that exist, and what an alarm needs is on it."""

import re
from pathlib import Path
from typing import Any

import orjson
from prometheus_client.metrics_core import Metric

from tests.edge.running import Client, client_of
from tests.edge.test_metrics import families

ROOT = Path(__file__).parent.parent
DASHBOARD: dict[str, Any] = orjson.loads((ROOT / "docs" / "grafana.json").read_bytes())
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
TARGET = {"job", "instance"}
"""Labels that Prometheus gives to everything."""
NAME = r"\b(?:sluice|process)_[a-z_]+"


def queries() -> list[tuple[str, dict[str, Any]]]:
    """Return each panel's title and query; and those of the variables."""
    panels = [(panel["title"], target) for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
    lists = DASHBOARD["templating"]["list"]
    return panels + [(one["name"], {"expr": one["definition"]}) for one in lists if one["type"] == "query"]


async def everything(client: Client) -> dict[str, Metric]:
    """Return the family of every sample's name, with each label having been used once."""
    client.service.refusals["http", "overloaded"] += 1
    client.service.sockets.traffic.closed[4408] += 1
    found = {}
    for family in await families(client):
        for sample in family.samples:
            found[sample.name] = family
    return found


def labels_of(family: Metric) -> set[str]:
    return {label for sample in family.samples for label in sample.labels}


def wrong(expr: str, known: dict[str, Metric]) -> list[str]:
    """Name what a query has that the service has not."""
    names = set(re.findall(NAME, expr))
    problems = [f"no metric {name}" for name in names - known.keys()] or [] if names else ["no metric at all"]
    labels = set().union(*(labels_of(known[name]) for name in names & known.keys())) | TARGET
    used = {label.strip() for group in re.findall(r"\bby \(([^)]*)\)", expr) for label in group.split(",")}
    used |= set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expr))
    problems += [f"no label {label}" for label in used - labels]
    problems += [f"rate of {name}" for name in re.findall(rf"rate\(({NAME})", expr) if known[name].type == "gauge"]
    problems += [f"{name} without rate" for name in names if _counts(name, known) and f"rate({name}" not in expr]
    if any(expr.count(opening) != expr.count(closing) for opening, closing in ("()", "[]", "{}")):
        problems.append("brackets")
    return problems


def _counts(name: str, known: dict[str, Metric]) -> bool:
    return name in known and known[name].type in ("counter", "histogram")


async def test_every_query_names_metrics_and_labels_that_exist(tmp_path: Path) -> None:
    async with client_of(data=str(tmp_path)) as client:
        known = await everything(client)
    assert len(queries()) > 40
    for title, target in queries():
        assert wrong(target["expr"], known) == [], title
        shown = set(re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "")))
        if "sum" not in target["expr"]:
            shown -= set().union(*(labels_of(known[name]) for name in re.findall(NAME, target["expr"])))
        grouped = {
            label.strip() for group in re.findall(r"\bby \(([^)]*)\)", target["expr"]) for label in group.split(",")
        }
        assert shown <= grouped | TARGET, title


async def test_what_is_wrong_with_a_query_is_found() -> None:
    async with client_of() as client:
        known = await everything(client)
    assert wrong("sum(sluice_nothing)", known) == ["no metric sluice_nothing"]
    assert wrong("sum by (colour) (rate(sluice_gaps_total[1m]))", known) == ["no label colour"]
    assert wrong('sluice_connections{on_lag="x"}', known) == ["no label on_lag"]
    assert wrong("rate(sluice_connections[1m])", known) == ["rate of sluice_connections"]
    assert wrong("sum(sluice_deliveries_total)", known) == ["sluice_deliveries_total without rate"]
    assert wrong("sum(sluice_connections", known) == ["brackets"]
    assert wrong("up", known) == ["no metric at all"]


def test_what_a_person_on_call_needs_is_shown() -> None:
    shown = " ".join(target["expr"] for _, target in queries())
    for name in (
        "sluice_connections", "sluice_deliveries_total", "sluice_delivery_seconds_bucket", "sluice_loop_lag_seconds",
        "process_resident_memory_bytes", "sluice_kernel_socket_bytes", "sluice_fetches_total", "sluice_fetch_seconds_bucket",
        "sluice_gaps_total", "sluice_evictions_total", "sluice_batches_running", "sluice_watched_urls",
        "sluice_refusals_total", "process_open_fds", "sluice_storage_commit_seconds_bucket",
        "sluice_storage_failures_total", "sluice_storage_waiting", "sluice_storage_bytes", "sluice_storage_damaged",
        "sluice_storage_recovery_seconds",
    ):  # fmt: skip
        assert re.search(rf"\b{name}\b", shown), name


def test_panels_have_a_place_of_their_own_and_say_what_they_show() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells, panel["title"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells
        assert panel["type"] == "row" or (panel["description"] and panel["fieldConfig"]["defaults"]["unit"])
        references = [target["refId"] for target in panel.get("targets", ())]
        assert len(set(references)) == len(references)


async def test_alarms_name_metrics_that_exist(tmp_path: Path) -> None:
    async with client_of(data=str(tmp_path)) as client:
        known = await everything(client)
    alarms = re.findall(r"^    (.+?)  +# .+$", OPERATIONS[OPERATIONS.index("Worth an alarm") :], re.MULTILINE)
    assert len(alarms) > 5
    for alarm in alarms:
        assert wrong(alarm, known) == [], alarm
