"""Grafana is given dashboards whose every metric is one that some process of the mesh shows."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.compose_file import COMPOSE, ROOT, compose_file

DASHBOARDS = sorted((COMPOSE / "grafana" / "dashboards").glob("*.json"))
NAME = re.compile(r"\b(?:penstock|nv|process)_[a-z_0-9]+")
SUFFIXES = ("", "_total", "_sum", "_count", "_bucket")
OF_PROMETHEUS = {"up"}


def shown() -> set[str]:
    """Return every name that could be a metric's in the services' code: nothing but its own text says so."""
    names: set[str] = set()
    for path in (ROOT / "services").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and NAME.fullmatch(node.value):
                names.add(node.value)
    return names


def expressions(dashboard: dict[str, Any]) -> Iterator[str]:
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    for variable in dashboard["templating"]["list"]:
        yield variable["query"]["query"]


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_metric_of_a_dashboard_is_shown_by_somebody(path: Path):
    known = shown()
    used = {name for expression in expressions(json.loads(path.read_text())) for name in NAME.findall(expression)}

    assert used
    assert {name for name in used if not any(name.endswith(end) and name.removesuffix(end) in known for end in SUFFIXES)} == set()


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_no_expression_is_without_a_metric(path: Path):
    for expression in expressions(json.loads(path.read_text())):
        assert NAME.search(expression) or expression.split("{")[0] in OF_PROMETHEUS, expression
        assert expression.count("(") == expression.count(")"), expression
        assert expression.count("{") == expression.count("}"), expression


def test_dashboards_are_provisioned_from_where_they_are_mounted_over_the_source_that_is_there():
    provider = yaml.safe_load((COMPOSE / "grafana" / "dashboards.yaml").read_text())["providers"][0]
    sources = yaml.safe_load((COMPOSE / "grafana" / "datasources.yaml").read_text())["datasources"]
    mounted = compose_file()["services"]["grafana"]["volumes"]

    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in mounted
    assert [source["url"] for source in sources] == ["http://prometheus:9090"]
    assert len(DASHBOARDS) == len({json.loads(path.read_text())["uid"] for path in DASHBOARDS}) == 2
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            assert panel["datasource"]["uid"] == sources[0]["uid"], panel["title"]
