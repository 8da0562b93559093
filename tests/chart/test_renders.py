"""Each value set, rendered by both Helms: the same each time, and what every schema accepts."""

import shutil

import pytest
import yaml

import schemas
from assertions import faults
from rendering import CHART, HELMS, ROOT, all_values, documents, helm, name_of, render, rendered

VERSIONS = sorted(HELMS)


@pytest.mark.parametrize("version", VERSIONS)
def test_lint_finds_nothing(values_file, version):
    found = helm(version, "lint", "--strict", CHART, "-f", values_file)
    assert found.returncode == 0 and "[WARNING]" not in found.stdout, found.stdout + found.stderr


def test_every_render_is_the_same(values_file):
    """Twice, by both Helms, and for the oldest and the newest Kubernetes: nothing is random, and nothing asks the cluster."""
    texts = {version: [render("-f", values_file, version=version) for _ in range(2)] for version in VERSIONS}
    for version in VERSIONS:
        assert texts[version][0] == texts[version][1]
    assert documents(texts["helm3"][0]) == documents(texts["helm4"][0])
    for kubernetes in (schemas.KUBERNETES[0], schemas.KUBERNETES[-1]):
        at = render("-f", values_file, "--kube-version", f"{kubernetes}.0")
        assert documents(at) == documents(texts["helm4"][0])


def test_kubernetes_accepts_every_object(objects):
    things = [thing for thing in objects.objects if schemas.is_kubernetes(thing)]
    found = [fault for version in schemas.KUBERNETES for thing in things for fault in schemas.kubernetes_faults(thing, version)]
    assert not found


def test_operators_accept_every_object(objects):
    things = [thing for thing in objects.objects if not schemas.is_kubernetes(thing)]
    assert not things or not schemas.operator_faults(things)


def test_schemas_see_a_wrong_field(objects):
    """Without this, a schema that accepts everything would show nothing."""
    broken = []
    for thing in objects.objects:
        if schemas.is_kubernetes(thing):
            thing["metadata"]["nmae"] = "x"
            assert all(schemas.kubernetes_faults(thing, version) for version in schemas.KUBERNETES)
        else:
            thing["spec"] = "wrong"
            broken.append(thing)
    assert not broken or len(schemas.operator_faults(broken)) == len(broken)


def test_assertions_find_nothing(objects):
    assert not faults(objects)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_parent_chart_renders_the_same(values_file, version, tmp_path):
    """As a subchart, with `global` values that other charts use."""
    parent = tmp_path / "parent"
    shutil.copytree(CHART, parent / "charts" / "push-service")
    (parent / "Chart.yaml").write_text("apiVersion: v2\nname: parent\nversion: 1.0.0\n")
    own = yaml.safe_load(values_file.read_text())
    # Helm 4 does not pass null on to a subchart; an empty string means the same there.
    own["podSecurity"] = {key: "" if value is None else value for key, value in own.get("podSecurity", {}).items()}
    if "autoscaling" in own and own["autoscaling"].get("cpu", 0) is None:
        own["autoscaling"]["cpu"] = 0
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump({"push-service": own, "global": {"imageRegistry": "registry.example.net"}}))
    alone = {(thing["kind"], thing["metadata"]["name"]): thing for thing in documents(render("-f", values_file))}
    inside = {
        (thing["kind"], thing["metadata"]["name"]): thing
        for thing in documents(render("-f", values, chart=parent, version=version))
    }
    assert inside == alone


def test_selectors_and_claims_outlive_an_upgrade(values_file, tmp_path):
    """Kubernetes refuses an upgrade that changes them."""
    newer = tmp_path / "push-service"
    shutil.copytree(CHART, newer)
    about = newer / "Chart.yaml"
    chart = yaml.safe_load(about.read_text())
    chart.update(version="17.2.3", appVersion="9.8.7")
    about.write_text(yaml.safe_dump(chart))
    old, new = rendered(values_file), rendered(values_file, chart=newer)
    assert new.template["metadata"]["labels"]["app.kubernetes.io/version"] == "9.8.7"
    for key in ("selector", "volumeClaimTemplates", "serviceName", "podManagementPolicy"):
        assert old.workload["spec"].get(key) == new.workload["spec"].get(key)
    selectors = [
        {service["metadata"]["name"]: service["spec"]["selector"] for service in one.of("Service")} for one in (old, new)
    ]
    assert selectors[0] == selectors[1]
    names = [[(thing["kind"], thing["metadata"]["name"]) for thing in one.objects] for one in (old, new)]
    assert names[0] == names[1]


def test_another_configuration_makes_new_pods(values_file, tmp_path):
    def checksum(*arguments):
        found = documents(render("-f", values_file, *arguments))
        workload = next(thing for thing in found if thing["kind"] in ("Deployment", "StatefulSet"))
        return workload["spec"]["template"]["metadata"]["annotations"]["checksum/config"]

    assert checksum() != checksum("--set", "config.limits.ttl=7d")


def test_tls_route_has_the_newest_version_that_the_cluster_knows():
    values = next(file for file in CHART.glob("ci/*") if name_of(file) == "tls-route")
    for version in ("v1alpha2", "v1alpha3", "v1"):
        found = documents(render("-f", values, "--api-versions", f"gateway.networking.k8s.io/{version}/TLSRoute"))
        route = next(thing for thing in found if thing["kind"] == "TLSRoute")
        assert route["apiVersion"] == f"gateway.networking.k8s.io/{version}"
        assert not schemas.operator_faults([route])


def test_every_value_set_is_its_own():
    """At least twelve; each says in its first line what it is about, and differs from the others."""
    files = sorted(CHART.glob("ci/*-values.yaml"))
    assert len(files) >= 12
    assert all(file.read_text().startswith("# ") for file in files)
    seen = [all_values(file) for file in files]
    assert all(one not in seen[:index] for index, one in enumerate(seen))


def test_the_values_in_the_documentation_render(tmp_path):
    """docs/kubernetes.md: the values for several pods, as they stand there, and those of the first command."""
    page = (ROOT / "docs" / "kubernetes.md").read_text()
    blocks = [block.split("```")[0] for block in page.split("```yaml\n")[1:] if block.startswith("image:")]
    assert blocks, "docs/kubernetes.md has no values any more"
    for block in blocks:
        values = tmp_path / "values.yaml"
        values.write_text(block.replace("sha256:…", f"sha256:{'0' * 64}"))
        assert not faults(rendered(values))
    command = page.split("helm install push-service helm/push-service \\\n")[1].splitlines()[0].split()
    assert documents(render(*command))
