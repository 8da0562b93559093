"""The rules without a service: cases, what values change, the page, and the shape of the dashboard."""

import os
import re
import shutil
import subprocess

import pytest
import yaml

from rules import CASES, CHART, PAGE, TARGET_LABELS, alerts, dashboard, objects, panels, render, rule_spec

PROMTOOL = os.environ.get("PROMTOOL", "promtool")


def promtool(*arguments):
    made = subprocess.run([PROMTOOL, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False)
    assert made.returncode == 0, made.stdout + made.stderr


def samples():
    """What cases expect: the alert's name, and the labels of those that fire."""
    for case in yaml.safe_load(CASES.read_text())["tests"]:
        for test in case["promql_expr_test"]:
            found = [dict(re.findall(r'(\w+)="([^"]*)"', sample["labels"])) for sample in test["exp_samples"]]
            asked = re.search(r'alertname=(~?)"([^"]*)"', test["expr"])
            names = [name for name in alerts() if re.fullmatch(asked[2], name)]
            for name in names:
                yield name, [labels for labels in found if labels["alertname"] == name]


def test_each_alert_fires_in_its_cases_and_not_in_others(tmp_path):
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rule_spec()))
    shutil.copy(CASES, tmp_path / "cases.yaml")
    promtool("check", "rules", tmp_path / "rules.yaml")
    promtool("test", "rules", tmp_path / "cases.yaml")


def test_each_alert_has_cases_of_both_kinds():
    for name in alerts():
        expected = [found for case, found in samples() if case == name]
        assert any(expected), f"no case in which {name} fires"
        assert not all(expected), f"no case in which {name} does not fire"


def test_the_file_works_without_the_chart():
    promtool("check", "rules", CHART / "files" / "alerts.yaml")


def test_texts_use_only_labels_that_the_alert_has():
    for name, rule in alerts().items():
        [labels, *_] = [labels for case, found in samples() if case == name for labels in found]
        used = set(re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values())))
        # Cases leave out `pod` or `instance` where they do not matter; the expression has them.
        grouped = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", rule["expr"]))))
        assert used <= set(labels) | (grouped & TARGET_LABELS), name
        assert rule["labels"]["severity"] in ("critical", "warning", "info")


@pytest.mark.parametrize("name", sorted(alerts()))
def test_each_alert_has_a_runbook_of_four_parts(name):
    sections = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.M | re.S))
    path, anchor = alerts()[name]["annotations"]["runbook_url"].split("#")
    assert path == "docs/alerts.md"
    found = {heading.lower(): text for heading, text in sections.items()}
    assert anchor in found, f"docs/alerts.md has no heading for #{anchor}"
    at = [found[anchor].find(f"**{part}") for part in ("Meaning", "Impact", "Diagnosis", "What to do")]
    assert -1 not in at and at == sorted(at), f"{name}: a part is missing or out of order: {at}"
    severity = alerts()[name]["labels"]["severity"]
    assert f"Severity: {severity}." in " ".join(found[anchor].split()), name


def test_the_page_has_no_alert_that_does_not_exist():
    headings = re.findall(r"^## (PushService\w+)$", PAGE.read_text(), re.M)
    assert headings == list(alerts())


def test_values_change_an_alert_and_nothing_else():
    changes = ["threshold=0.05", "for=2h", "severity=page"]
    settings = [f"monitoring.prometheusRule.alerts.PushServiceEvictions.{change}" for change in changes]
    settings += ["monitoring.prometheusRule.alerts.PushServicePanics.enabled=false"]
    settings += ["monitoring.prometheusRule.alerts.PushServiceOldSealingKeyInUse.threshold=0"]
    [group] = rule_spec(*settings)["groups"]
    changed = {rule["alert"]: rule for rule in group["rules"]}
    assert set(alerts()) - set(changed) == {"PushServicePanics"}
    evictions = changed.pop("PushServiceEvictions")
    assert evictions["expr"].endswith(" > 0.05") and evictions["for"] == "2h"
    assert evictions["labels"]["severity"] == "page"
    assert all(alerts()[name] == rule for name, rule in changed.items())


def test_the_threshold_is_the_number_at_the_end():
    assert all(re.search(r" [<>] [0-9.]+$", rule["expr"]) for rule in alerts().values())


def test_the_runbook_leads_to_the_url_that_is_set():
    [group] = rule_spec("monitoring.prometheusRule.runbookUrl=https://git.example.net/alerts.md")["groups"]
    for rule in group["rules"]:
        anchor = rule["alert"].lower()
        assert rule["annotations"]["runbook_url"] == f"https://git.example.net/alerts.md#{anchor}"


def test_an_alert_that_does_not_exist_is_refused_with_those_that_do():
    made = render("monitoring.prometheusRule.alerts.PushServiceDwon.enabled=false")
    assert made.returncode != 0
    assert "there is no alert" in made.stderr and "PushServiceDown" in made.stderr, made.stderr


def test_the_rules_ask_for_the_job_that_the_pod_monitor_gives():
    [monitor] = [found for found in objects() if found["kind"] == "PodMonitor"]
    job = f'{monitor["metadata"]["namespace"]}/{monitor["metadata"]["name"]}'
    assert "jobLabel" not in monitor["spec"]
    for rule in alerts().values():
        selectors = re.findall(r"\{([^}]*)\}", rule["expr"])
        assert selectors and all(s.startswith(f'namespace="push", job="{job}"') for s in selectors), rule["expr"]


def test_each_panel_is_complete_and_in_its_place():
    known = dashboard()
    assert not known.get("uid") and not known.get("id"), "an identity of its own lets it meet another dashboard"
    variables = [variable["name"] for variable in known["templating"]["list"]]
    assert variables == ["datasource", "namespace", "job", "pod"]
    rows = [panel["title"] for panel in known["panels"] if panel["type"] == "row"]
    assert rows == [
        "Is it well?", "Who is connected?", "What flows?", "How fast?", "What is refused?", "Storage", "Process",
    ]
    taken = set()
    for panel in known["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken and place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in known["panels"]}) == len(known["panels"])
    for panel in panels():
        assert panel["title"] and panel["description"] and panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}", panel["title"]
            assert 'namespace=~"$namespace"' in target["expr"], panel["title"]
