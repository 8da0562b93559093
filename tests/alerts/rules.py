"""The rules, the dashboard and the page about them, and what tests need to look into them. Starts nothing but Helm."""

import functools
import json
import os
import pathlib
import re
import subprocess

import promql_parser
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "push-service"
CASES = ROOT / "tests" / "alerts" / "cases.yaml"
PAGE = ROOT / "docs" / "alerts.md"
# Labels that Prometheus gives to each series of a pod that a PodMonitor found.
TARGET_LABELS = {"namespace", "job", "pod", "instance", "container", "endpoint"}
# Series that Prometheus makes itself.
OF_PROMETHEUS = {"up": set(), "ALERTS": {"alertname", "alertstate", "severity"}}


def render(*settings):
    """Helm's answer for a release push-service in the namespace push; the objects of the templates that this is about."""
    monitoring = [f"monitoring.{what}.enabled=true" for what in ("podMonitor", "prometheusRule", "dashboard")]
    settings = ["publicUrl=https://push.example.net", "image.repository=example.net/push-service", *monitoring, *settings]
    arguments = [argument for setting in settings for argument in ("--set", setting)]
    command = [os.environ.get("HELM4", "helm"), "template", "push-service", CHART, "--namespace", "push", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def objects(*settings):
    made = render(*settings)
    assert made.returncode == 0, made.stderr
    return [found for found in yaml.safe_load_all(made.stdout) if found]


def rule_spec(*settings):
    [found] = [found for found in objects(*settings) if found["kind"] == "PrometheusRule"]
    return found["spec"]


@functools.cache
def alerts():
    """The rendered rules, by name."""
    return {rule["alert"]: rule for group in rule_spec()["groups"] for rule in group["rules"]}


@functools.cache
def dashboard():
    [found] = [found for found in objects() if found["kind"] == "ConfigMap" and "dashboard" in found["metadata"]["name"]]
    [text] = found["data"].values()
    return json.loads(text)


def panels():
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def dashboard_expressions():
    for panel in panels():
        for target in panel["targets"]:
            expression = target["expr"].replace("$__rate_interval", "5m")
            yield panel["title"], re.sub(r"\$(namespace|job|pod)", ".*", expression), target["legendFormat"]


def walk(expression):
    """The selectors of an expression, and the labels that it groups, joins or matches by."""
    selectors, labels = [], set()

    def visit(node):
        kind = type(node).__name__
        if kind == "VectorSelector":
            selectors.append(node)
        elif kind == "MatrixSelector":
            visit(node.vector_selector)
        elif kind == "BinaryExpr":
            if node.modifier:
                labels.update(node.modifier.matching.labels if node.modifier.matching else [])
                labels.update(node.modifier.group_labels or [] if hasattr(node.modifier, "group_labels") else [])
            visit(node.lhs)
            visit(node.rhs)
        elif kind == "AggregateExpr":
            labels.update(node.modifier.labels if node.modifier else [])
            visit(node.expr)
        elif kind == "Call":
            for argument in node.args:
                visit(argument)
        elif kind in ("ParenExpr", "UnaryExpr", "SubqueryExpr"):
            visit(node.expr)
        else:
            assert kind in ("NumberLiteral", "StringLiteral"), f"{kind} in {expression}"

    visit(promql_parser.parse(expression))
    return selectors, labels
