"""Rules and dashboard against what a running service exports, and the rules in a real Prometheus.

Minutes become seconds: `for` is 2 s and each range 8 s. So a restart of Redis of some seconds raises what a failure of minutes would.
"""

import contextlib
import re
import signal
import socket
import subprocess

import pytest

from rules import OF_PROMETHEUS, TARGET_LABELS, alerts, dashboard_expressions, rule_spec, walk
from running import Node, Prometheus, free_port, redis, user_agent

KEYS = ["A" * 43, "A" * 42 + "E"]
# Prometheus 3 writes the buckets of histograms as decimal fractions.
BUCKETS_OF_PROMETHEUS_3 = re.compile(r"\d+\.0")


def certificate(directory, days):
    directory.mkdir(exist_ok=True)
    key, made = directory / "key.pem", directory / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1", "-days", str(days), "-keyout", key, "-out", made],
        check=True, capture_output=True,
    )  # fmt: skip
    return {"TLS__CERTIFICATE": made, "TLS__KEY": key}


def some_traffic(node, directory):
    subscription = directory / f"{node.name}.json"
    subscription.write_text(user_agent(directory / f"{node.name}.agent", "subscribe", "--server", f"ws://127.0.0.1:{node.http}"))
    key = directory / f"{node.name}.vapid"
    user_agent(None, "keys", "--vapid-key", key)
    user_agent(None, "send", "--subscription", subscription, "--vapid-key", key, "hello")
    user_agent(directory / f"{node.name}.agent", "listen", "--count", "1")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Every series of a node with embedded storage and of one with Redis, after a message: name, and labels with their values."""
    directory, series = tmp_path_factory.mktemp("exported"), {}
    port = free_port()
    on_redis = {"STORAGE__URL": f"redis://127.0.0.1:{port}", "SECURITY__SEALING_KEYS": ",".join(KEYS)}
    nodes = [
        Node(directory, "embedded", **certificate(directory / "pair", 30), TLS__DIRECTORY=directory / "pairs"),
        Node(directory, "redis", **on_redis),
    ]
    (directory / "pairs").mkdir()
    for source, copy in (("certificate.pem", "one.pem"), ("key.pem", "one.key")):
        (directory / "pairs" / copy).write_bytes((directory / "pair" / source).read_bytes())
    with redis(directory, port), contextlib.ExitStack() as stack:
        for node in nodes:
            stack.enter_context(node.run())
            some_traffic(node, directory)
            for name, labels in re.findall(r"^(\w+)(?:\{(.*)\})? \S+$", node.metrics(), re.M):
                values = series.setdefault(name, {})
                for label, value in re.findall(r'(\w+)="([^"]*)"', labels):
                    values.setdefault(label, set()).add(value)
    return series


def everything():
    yield from ((name, rule["expr"], "") for name, rule in alerts().items())
    yield from dashboard_expressions()


def test_every_metric_and_label_is_exported(exported):
    known = exported | {name: {label: set() for label in labels} for name, labels in OF_PROMETHEUS.items()}
    every_label = TARGET_LABELS | {label for labels in known.values() for label in labels}
    for where, expression, legend in everything():
        selectors, grouped = walk(expression)
        used = grouped | set(re.findall(r"\{\{\s*(\w+)\s*\}\}", legend))
        assert used <= every_label, f"{where}: no series has {used - every_label}"
        for selector in selectors:
            assert selector.name in known, f"{where}: the service exports no {selector.name}"
            for matcher in selector.matchers.matchers:
                if matcher.name in TARGET_LABELS or selector.name in OF_PROMETHEUS:
                    continue
                values = known[selector.name].get(matcher.name)
                assert values, f"{where}: {selector.name} has no label {matcher.name}"
                for value in matcher.value.split("|"):
                    old = value.removesuffix(".0") if BUCKETS_OF_PROMETHEUS_3.fullmatch(value) else value
                    assert old in values, f"{where}: {selector.name} has no {matcher.name}={value!r}, but {sorted(values)}"


def quick_rules():
    """The rules with seconds in place of minutes, and without what takes a day."""
    spec = rule_spec()
    for group in spec["groups"]:
        for rule in group["rules"]:
            rule["for"] = "2s"
            rule["expr"] = re.sub(r"\[\d+[mhd]\]", "[8s]", rule["expr"])
    return spec


def test_failures_raise_their_alerts_and_healing_ends_them(tmp_path):
    port = free_port()
    pair = certificate(tmp_path / "pair", 30)
    on_redis = {"STORAGE__URL": f"redis://127.0.0.1:{port}", "SECURITY__SEALING_KEYS": ",".join(KEYS)}
    # A hard limit of 2,000 files leaves less than 1,800 connections.
    tls, full = Node(tmp_path, "tls", **pair, **on_redis), Node(tmp_path, "full", files=2000, **on_redis)
    with contextlib.ExitStack() as stack:
        redis_server = stack.enter_context(contextlib.ExitStack())
        redis_server.enter_context(redis(tmp_path, port))
        nodes = [stack.enter_context(node.run()) for node in (tls, full)]
        prometheus = stack.enter_context(Prometheus(tmp_path, quick_rules(), nodes).run())

        some_traffic(tls, tmp_path)
        prometheus.wait_until()

        # A certificate with a day left, and then the new one.
        certificate(tmp_path / "pair", 1)
        tls.process.send_signal(signal.SIGHUP)
        prometheus.wait_until("PushServiceCertificateExpires", "PushServiceCertificateExpiresSoon")
        certificate(tmp_path / "pair", 90)
        tls.process.send_signal(signal.SIGHUP)
        prometheus.wait_until()

        # A full node: its connections, and so its files.
        limit = int(re.search(r"^push_service_connections_limit (\d+)", full.metrics(), re.M)[1])
        peers = [socket.create_connection(("127.0.0.1", full.http)) for _ in range(limit - 20)]
        for peer in peers:
            # A request that is answered keeps its connection; a silent peer is cut off.
            peer.sendall(b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n")
        prometheus.wait_until(("PushServiceConnectionsNearLimit", "full"), ("PushServiceFilesNearLimit", "full"))
        for peer in peers:
            peer.close()
        prometheus.wait_until()

        # Redis stops.
        redis_server.close()
        prometheus.wait_until(
            "PushServiceDown", "PushServiceStorageUnavailable",
            ("PushServiceNodeNotReady", "tls"), ("PushServiceNodeNotReady", "full"),
        )  # fmt: skip
        redis_server.enter_context(redis(tmp_path, port))
        prometheus.wait_until()

        # A node dies.
        full.process.kill()
        prometheus.wait_until(("PushServiceNodeNotReady", "full"))
