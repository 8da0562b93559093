"""Values that are refused. Each refusal stops the render with a sentence that names the value and the way out."""

import pytest
import yaml

from rendering import HELMS, documents, helm, render, value_set, CHART, NAMESPACE, RELEASE

LONG = "a-name-with-more-characters-than-any-object-here-can-have"

# The value set, what is set over it, and what the sentence has to say: the value, and the way out.
REFUSED = [
    # Required values.
    ("embedded", {"publicUrl": ""}, ["publicUrl is empty", "set it to the origin"]),
    ("embedded", {"publicUrl": "push.example.net"}, ["publicUrl `push.example.net`", "write https://HOST"]),
    ("embedded", {"publicUrl": "https://push.example.net/path"}, ["publicUrl", "without user, path or query"]),
    ("embedded", {"image": {"repository": ""}}, ["image.repository is empty", "docs/kubernetes.md"]),
    ("embedded", {"image": {"repository": "example.net/push:1"}}, ["image.repository", "put it into image.tag"]),
    ("embedded", {"service": {"http": {"enabled": False}}}, ["service.http.enabled is false", "tls.existingSecret"]),
    # Storage and the number of pods.
    ("embedded", {"replicas": 2}, ["replicas is 2", "set replicas to 1, or storage.kind to redis"]),
    ("embedded", {"autoscaling": {"enabled": True}}, ["autoscaling.enabled is true", "storage.kind to redis"]),
    ("embedded", {"storage": {"redis": {"url": "redis://r"}}}, ["storage.redis.url is set", "set storage.kind to redis"]),
    ("redis", {"sealingKeys": {"existingSecret": ""}},
     ["sealingKeys.existingSecret is empty", "push-service keys generate | kubectl create secret generic", f"--namespace {NAMESPACE}"]),
    ("redis", {"storage": {"redis": {"url": ""}}}, ["storage.redis.url is empty", "storage.redis.urlKey"]),
    ("redis", {"storage": {"redis": {"url": "http://r"}}}, ["storage.redis.url does not begin with", "rediss://"]),
    ("redis", {"storage": {"redis": {"url": "redis://user:hushhush@r"}}}, ["storage.redis.url has a password", "existingSecret"]),
    ("redis", {"storage": {"redis": {"url": "redis://user:hushhush@:/%#@r"}}}, ["storage.redis.url has a password", "existingSecret"]),
    ("redis", {"storage": {"redis": {"ca": {"existingSecret": "ca"}}}}, ["storage.redis.ca is set", "write rediss"]),
    ("redis", {"storage": {"redis": {"urlKey": "url", "existingSecret": "s"}}}, ["storage.redis.url and", "remove one"]),
    ("redis", {"storage": {"embedded": {"existingClaim": "c"}}}, ["storage.embedded.existingClaim", "embedded, or remove it"]),
    # Certificates and ways in.
    ("embedded-tls", {"tls": {"certManager": {"enabled": True, "issuerRef": {"name": "i"}}}},
     ["tls.existingSecret and tls.certManager.enabled", "keep one of them"]),
    ("embedded", {"tls": {"certManager": {"enabled": True}}}, ["tls.certManager.issuerRef.name is empty", "your issuer"]),
    ("redis", {"tls": {"acme": {"enabled": True}}}, ["tls.acme.enabled is true", "use tls.certManager"]),
    ("ingress", {"trustedProxies": []}, ["trustedProxies is empty", "cut off at 1000", "Set trustedProxies"]),
    ("http-route", {"trustedProxies": []}, ["trustedProxies is empty", "cut off at 1000", "Set trustedProxies"]),
    ("tls-route", {"trustedProxies": []}, ["trustedProxies is empty", "Set trustedProxies"]),
    ("http-route", {"httpRoute": {"parentRefs": []}}, ["httpRoute.parentRefs is empty", "name your Gateway"]),
    ("tls-route", {"tls": {"certManager": {"enabled": False}}}, ["tlsRoute.enabled is true", "set tls.existingSecret"]),
    ("ingress", {"publicUrl": "https://192.0.2.1"}, ["publicUrl has the address", "write a host name"]),
    ("embedded-tls", {"service": {"externalTrafficPolicy": "Cluster"}},
     ["service.externalTrafficPolicy is Cluster", "set it to Local", "config.limits.connections_per_address"]),
    ("embedded", {"service": {"quic": {"enabled": True}}}, ["service.quic.enabled is true", "set it to false"]),
    ("embedded", {"service": {"http": {"nodePort": 30000}}}, ["service.http.nodePort is set", "NodePort or LoadBalancer"]),
    # Times.
    ("redis", {"drain": {"terminationGracePeriodSeconds": 30}},
     ["drain.terminationGracePeriodSeconds is 30", "leave it empty", "at least 50"]),
    ("redis", {"drain": {"progressDeadlineSeconds": 15}}, ["drain.progressDeadlineSeconds is 15", "leave it empty"]),
    ("redis", {"drain": {"perSecond": 1}}, ["drain.perSecond is 1", "set it to at least"]),
    # The autoscaler.
    ("autoscaling-cpu", {"replicas": 3}, ["replicas is 3", "set autoscaling.minReplicas"]),
    ("autoscaling-cpu", {"autoscaling": {"minReplicas": 20}}, ["autoscaling.minReplicas is 20", "lower it"]),
    ("autoscaling-cpu", {"autoscaling": {"cpu": None}}, ["neither autoscaling.cpu nor", "set one of them"]),
    ("autoscaling-keda", {"autoscaling": {"connections": {"keda": {"serverAddress": ""}}}}, ["serverAddress is empty", "set it"]),
    # What would collide with the chart's own.
    ("embedded", {"extraEnv": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}, ["extraEnv has A twice", "remove one"]),
    ("embedded", {"extraEnv": [{"name": "PUSH_SERVICE__PUBLIC_URL", "value": "x"}]}, ["PUSH_SERVICE__PUBLIC_URL", "use publicUrl"]),
    ("embedded", {"config": {"limits": {"connections": 5}}}, ["config.limits.connections", "use connections instead"]),
    ("embedded", {"config": {"cluster": {"reconcile": "5s"}}}, ["config.cluster is set", "set storage.kind to redis"]),
    ("embedded", {"extraVolumes": [{"name": "data", "emptyDir": {}}]}, ["a volume `data`", "give it another name"]),
    ("embedded", {"extraVolumeMounts": [{"name": "x", "mountPath": "/x"}]}, ["mounts `x`", "add it there"]),
    ("embedded", {"podLabels": {"app.kubernetes.io/name": "x"}}, ["podLabels has app.kubernetes.io/name", "choose another"]),
    ("embedded", {"podSecurity": {"runAsUser": 0}}, ["podSecurity.runAsUser", "choose another id, or null"]),
    ("redis", {"podDisruptionBudget": {"maxUnavailable": 0}}, ["podDisruptionBudget.maxUnavailable is 0", "at least 1"]),
    ("redis-url-in-secret", {"networkPolicy": {"enabled": True}}, ["networkPolicy.enabled is true", "networkPolicy.redisPorts"]),
    ("external-secret", {"externalSecret": {"secretStoreRef": {"name": ""}}}, ["externalSecret.secretStoreRef.name is empty", "set it"]),
    ("external-secret", {"sealingKeys": {"existingSecret": "k"}}, ["sealingKeys.existingSecret and externalSecret", "remove one"]),
    # Names.
    ("embedded", {"fullnameOverride": LONG}, [LONG, "at most 52", "set fullnameOverride to a shorter one"]),
    ("embedded", {"fullnameOverride": "Push_1"}, ["Push_1", "lower-case letters", "Set fullnameOverride"]),
]

# What the schema refuses: unknown keys and wrong types. Helm writes these sentences, each with the path of the value.
MISSHAPEN = [
    ({"replcas": 2}, "replcas"),
    ({"storage": {"kind": "postgres"}}, "storage"),
    ({"storage": {"redis": {"urk": "x"}}}, "urk"),
    ({"connections": "many"}, "connections"),
    ({"connections": 0}, "connections"),
    ({"replicas": -1}, "replicas"),
    ({"trustedProxies": "10.0.0.0/8"}, "trustedProxies"),
    ({"rollout": "recreate"}, "rollout"),
    ({"service": {"externalTrafficPolicy": "Lokal"}}, "externalTrafficPolicy"),
    ({"service": {"http": {"port": 99999}}}, "port"),
    ({"config": {"limits": {"conections": 5}}}, "conections"),
    ({"config": {"limts": {}}}, "limts"),
    ({"image": {"digest": "latest"}}, "digest"),
    ({"extraEnv": [{"value": "1"}]}, "extraEnv"),
    ({"drain": {"perSecond": 0}}, "perSecond"),
    ({"ingress": {"enabled": "yes"}}, "enabled"),
    ({"monitoring": {"prometheusRule": {"alerts": {"Other": {"for": "1h"}}}}}, "Other"),
]


def refusal(where, values, tmp_path, version):
    over = tmp_path / "over.yaml"
    over.write_text(yaml.safe_dump(values))
    made = helm(version, "template", RELEASE, CHART, "--namespace", NAMESPACE, "-f", value_set(where), "-f", over)
    assert made.returncode != 0, f"{values} is not refused"
    return made.stderr


@pytest.mark.parametrize("version", sorted(HELMS))
@pytest.mark.parametrize("where,values,says", REFUSED, ids=[" ".join(row[2])[:60] for row in REFUSED])
def test_the_render_stops_with_a_sentence(where, values, says, version, tmp_path):
    told = refusal(where, values, tmp_path, version)
    sentences = [line for line in told.splitlines() if says[0] in line]
    assert sentences, told
    assert all(part in sentences[0] for part in says), sentences[0]
    assert "hushhush" not in told, "the sentence shows a password"


@pytest.mark.parametrize("version", sorted(HELMS))
@pytest.mark.parametrize("values,names", MISSHAPEN, ids=[row[1] for row in MISSHAPEN])
def test_the_schema_names_the_value(values, names, version, tmp_path):
    told = refusal("embedded", values, tmp_path, version)
    assert names in told and "schema" in told


def test_all_faults_are_told_at_once(tmp_path):
    told = refusal("embedded", {"publicUrl": "", "replicas": 3, "image": {"repository": ""}}, tmp_path, "helm4")
    assert all(part in told for part in ("publicUrl is empty", "replicas is 3", "image.repository is empty"))


def test_cluster_policy_is_allowed_without_limits_by_address():
    """Also for a load balancer that is a trusted proxy: it sends the peers' addresses."""
    limits = ["connections_per_address", "work_per_address", "records_per_address"]
    off = [f"--set=config.limits.{limit}=0" for limit in limits]
    found = documents(render("-f", value_set("embedded-tls"), "--set", "service.externalTrafficPolicy=Cluster", *off))
    policies = {thing["spec"].get("externalTrafficPolicy") for thing in found if thing["kind"] == "Service"}
    assert policies == {"Cluster"}


def test_global_values_are_allowed():
    assert render("-f", value_set("embedded"), "--set", "global.imageRegistry=x") == render("-f", value_set("embedded"))
