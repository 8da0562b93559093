"""Objects against published schemas: those of Kubernetes, strict, and those of the operators."""

import functools
import json
import re
import subprocess

import jsonschema
import kubernetes_validate.utils
import referencing

from rendering import ROOT

KUBERNETES = [f"1.{minor}" for minor in range(29, 38)]


def is_kubernetes(thing):
    group = thing["apiVersion"].rpartition("/")[0]
    return group in ("", "apps", "autoscaling", "policy") or group == "networking.k8s.io"


def kubernetes_faults(thing, version):
    errors = kubernetes_validator(version, thing["apiVersion"], thing["kind"]).iter_errors(thing)
    return [f"{version}: {thing['kind']} {'.'.join(map(str, error.path))}: {error.message}" for error in errors]


# The package reads a file of some megabytes for each object; here each is read once.
@functools.cache
def kubernetes_validator(version, api_version, kind):
    directory, definitions = kubernetes_definitions(version)
    group = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", api_version)
    schema = kubernetes_validate.utils.schema_contents(f"{directory}/{kind.lower()}-{group}.json", version)
    registry = referencing.Resource.from_contents(schema) @ definitions
    return jsonschema.validators.Draft202012Validator(schema, registry=registry)


@functools.cache
def kubernetes_definitions(version):
    full = next(known for known in kubernetes_validate.utils.all_versions() if known.startswith(f"{version}."))
    directory = f"kubernetes-json-schema/v{full}-local-strict"
    contents = kubernetes_validate.utils.schema_contents(f"{directory}/_definitions.json", version)
    return directory, referencing.Resource.from_contents(contents) @ referencing.Registry()


def operator_faults(things):
    """Faults by schemas.mjs, one for each line. These schemas see missing and wrong fields, not unknown ones."""
    checked = subprocess.run(
        ["node", ROOT / "tests" / "chart" / "schemas.mjs"],
        input=json.dumps(things), capture_output=True, text=True, timeout=60, check=True,
    )
    return checked.stdout.splitlines()
