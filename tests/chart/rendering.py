"""The chart, rendered: runs Helm and reads what it makes. Knows no rule about it."""

import copy
import dataclasses
import functools
import os
import pathlib
import subprocess
import tomllib

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "push-service"
VALUE_SETS = sorted(CHART.glob("ci/*-values.yaml"))
RELEASE, NAMESPACE = "rel", "push"
HELMS = {"helm3": os.environ.get("HELM3", "helm3"), "helm4": os.environ.get("HELM4", "helm4")}


class OneOfEachKey(yaml.CSafeLoader):
    """YAML in which a key that is there twice is an error, as Kubernetes has it."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"keys are there twice: {sorted(twice)}", node.start_mark)
        return super().construct_mapping(node, deep)


def name_of(value_set):
    return value_set.name.removesuffix("-values.yaml")


def value_set(name):
    return CHART / "ci" / f"{name}-values.yaml"


def helm(version, *arguments):
    """Runs Helm; its exit code, output and errors."""
    return subprocess.run([HELMS[version], *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)


def render(*arguments, chart=CHART, version="helm4"):
    """What `helm template` prints, for tests that expect that it works."""
    made = helm(version, "template", RELEASE, chart, "--namespace", NAMESPACE, *arguments)
    assert made.returncode == 0, made.stderr
    return made.stdout


def documents(text):
    return [document for document in yaml.load_all(text, OneOfEachKey) if document]


def all_values(values_file, chart=CHART):
    """The values that a render works with: the chart's, with those of a file over them."""

    def over(base, other):
        merged = copy.deepcopy(base)
        for key, value in (other or {}).items():
            both = isinstance(value, dict) and isinstance(merged.get(key), dict)
            merged[key] = over(merged[key], value) if both else value
        return merged

    return over(yaml.safe_load((chart / "values.yaml").read_text()), yaml.safe_load(values_file.read_text()))


@dataclasses.dataclass(frozen=True)
class Rendered:
    """The objects of one value set, and the values that they were made from."""

    objects: list
    values: dict

    def of(self, kind):
        return [thing for thing in self.objects if thing["kind"] == kind]

    @functools.cached_property
    def workload(self):
        return (self.of("Deployment") + self.of("StatefulSet"))[0]

    @property
    def template(self):
        return self.workload["spec"]["template"]

    @property
    def pod(self):
        return self.template["spec"]

    @property
    def container(self):
        return self.pod["containers"][0]

    @property
    def pods(self):
        """The specifications of all pods: the service's, and that of `helm test`."""
        return [self.pod] + [pod["spec"] for pod in self.of("Pod")]

    @functools.cached_property
    def toml_text(self):
        return next(map_["data"]["push-service.toml"] for map_ in self.of("ConfigMap") if "push-service.toml" in map_["data"])

    @functools.cached_property
    def toml(self):
        return tomllib.loads(self.toml_text)

    @property
    def redis(self):
        return self.values["storage"]["kind"] == "redis"

    @property
    def several(self):
        if not self.redis:
            return False
        if self.values["autoscaling"]["enabled"]:
            return self.values["autoscaling"]["maxReplicas"] > 1
        return self.workload["spec"]["replicas"] > 1


def rendered(values_file, chart=CHART, version="helm4"):
    return Rendered(documents(render("-f", values_file, chart=chart, version=version)), all_values(values_file, chart))


def seconds(text):
    """A time of the configuration, such as `500ms` or `5m`."""
    for unit, factor in (("ms", 0.001), ("s", 1), ("m", 60), ("h", 3600), ("d", 86400)):
        if str(text).endswith(unit):
            return int(text.removesuffix(unit)) * factor
    return int(text)


def bytes_of(quantity):
    """A quantity of memory or storage, such as `362Mi`."""
    for unit, factor in (("Ki", 2**10), ("Mi", 2**20), ("Gi", 2**30)):
        if str(quantity).endswith(unit):
            return int(quantity.removesuffix(unit)) * factor
    return int(quantity)
