"""What the chart renders, in the real service: each configuration passes its check, and three of them start."""

import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
import tomllib
import urllib.error
import urllib.request

import pytest
import yaml

from pods import PASSWORD, SERVICE, Pod, make_secrets
from rendering import CHART, render, rendered, value_set

# In seconds. A start takes some milliseconds; a busy machine may take long.
READY_WITHIN = 60


@pytest.fixture(scope="session")
def secrets(tmp_path_factory):
    return make_secrets(tmp_path_factory.mktemp("secrets"))


def test_the_configuration_passes_the_check(objects, secrets, tmp_path):
    checked = Pod(objects, tmp_path, secrets).check()
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert PASSWORD not in checked.stdout


def test_the_check_sees_a_wrong_key(secrets, tmp_path):
    """Without this, a check that accepts everything would show nothing."""
    chart = tmp_path / "push-service"
    shutil.copytree(CHART, chart)
    template = chart / "templates" / "_config.tpl"
    text = template.read_text()
    assert '"deadline" (printf' in text, "_config.tpl has changed: plant this mistake elsewhere"
    template.write_text(text.replace('"deadline" (printf', '"dead_line" (printf'))
    checked = Pod(rendered(value_set("redis"), chart), tmp_path / "root", secrets).check()
    assert checked.returncode == 2 and "dead_line" in checked.stdout + checked.stderr


def test_the_schema_knows_every_key_of_the_service(tmp_path):
    """`config` takes what `config print-default` prints, except for the keys that other values set."""
    printed = subprocess.run([SERVICE, "config", "print-default"], capture_output=True, text=True, timeout=30, check=True).stdout
    defaults = tomllib.loads(printed)
    refused = []
    for path, value in leaves(defaults):
        values = tmp_path / "values.yaml"
        values.write_text(yaml.safe_dump({"config": nested(path, value)}))
        made = subprocess.run(
            [os.environ.get("HELM4", "helm4"), "template", "rel", CHART, "-f", value_set("redis"), "-f", values],
            capture_output=True, text=True, timeout=60, check=False,
        )
        if made.returncode and "the chart writes this key itself" not in made.stderr:
            refused.append((".".join(path), made.stderr))
    assert not refused


def leaves(table, path=()):
    for key, value in table.items():
        if isinstance(value, dict):
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value


def nested(path, value):
    for key in reversed(path):
        value = {key: value}
    return value


def test_one_pod_with_its_volume_gets_ready(secrets, tmp_path):
    with running(rendered(value_set("embedded")), tmp_path, secrets) as ports:
        assert get(f"http://127.0.0.1:{ports['admin']}/healthz") == 200
        assert get(f"http://127.0.0.1:{ports['http']}/") == 200


def test_a_pod_with_redis_gets_ready(secrets, tmp_path):
    """With a user and a password that a URL could not have as they are, both from where the chart puts them."""
    with redis(tmp_path) as port, running(
        rendered(value_set("external-secret")), tmp_path / "root", secrets,
        ("rediss://redis.example.net:6380", f"redis://127.0.0.1:{port}"), ('delay = "10s"', 'delay = "0s"'),
    ) as ports:
        status = json.load(urllib.request.urlopen(f"http://127.0.0.1:{ports['admin']}/status", timeout=10))
        assert status


def test_a_pod_with_a_certificate_gets_ready(secrets, tmp_path):
    with running(rendered(value_set("embedded-tls")), tmp_path, secrets) as ports:
        trusted = ssl.create_default_context(cadata=secrets["tls.crt"])
        assert get(f"https://127.0.0.1:{ports['tls']}/", trusted) == 200


class running:
    """The container's command, on free ports of loopback, until it listens and `/readyz` is 200. Gives the ports by name."""

    def __init__(self, objects, root, secrets, *replace):
        self.ports = {name: free_port() for name in ("http", "tls", "admin")}
        inside = (("http", 8080), ("tls", 8443), ("admin", 9090))
        self.replace = [*replace, *((f"[::]:{port}", f"127.0.0.1:{self.ports[name]}") for name, port in inside)]
        self.pod = Pod(objects, root, secrets, self.change)

    def change(self, toml):
        for old, new in self.replace:
            assert old in toml or old.startswith("[::]"), f"the configuration has no {old}"
            toml = toml.replace(old, new)
        return toml

    def __enter__(self):
        self.process = self.pod.start()
        self.told = read_until(self.process, '"listening"')
        self.ask_until_ready()
        return self.ports

    def ask_until_ready(self):
        """As the kubelet asks. With Redis a node is ready when wake-ups of other nodes reach it, shortly after it listens."""
        deadline = time.monotonic() + READY_WITHIN
        while get(f"http://127.0.0.1:{self.ports['admin']}/readyz") != 200:
            assert time.monotonic() < deadline and self.process.poll() is None, "it does not get ready"
            time.sleep(0.02)

    def __exit__(self, *_):
        """SIGTERM ends it within the grace that the chart gives it."""
        self.process.terminate()
        rest, _ = self.process.communicate(timeout=self.pod.rendered.pod["terminationGracePeriodSeconds"])
        assert self.process.returncode == 0, rest
        assert PASSWORD not in self.told + rest


class redis:
    """A server whose only user is `push` with the password. Redis reads its own file with the rights of `default`."""

    def __init__(self, directory):
        self.port = free_port()
        self.command = [
            os.environ.get("REDIS_SERVER", "redis-server"), "--port", str(self.port), "--bind", "127.0.0.1",
            "--dir", str(directory), "--save", "", "--appendonly", "yes", "--maxmemory-policy", "noeviction",
            "--aclfile", str(directory / "users.acl"),
        ]
        (directory / "users.acl").write_text(f"user default off ~* &* +@all\nuser push on >{PASSWORD} ~* &* +@all\n")

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True)
        read_until(self.process, "Ready to accept connections")
        return self.port

    def __exit__(self, *_):
        self.process.terminate()
        self.process.communicate(timeout=10)


def read_until(process, text):
    """Waits until a process says this, and returns what it said."""
    stop = threading.Timer(READY_WITHIN, process.kill)
    stop.start()
    said = ""
    for line in process.stdout:
        said += line
        if text in line:
            stop.cancel()
            return said
    stop.cancel()
    pytest.fail(f"it ended or took too long, and said: {said}")


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def get(url, context=None):
    """The status of an answer, or None while there is no answer."""
    try:
        return urllib.request.urlopen(url, timeout=10, context=context).status
    except urllib.error.HTTPError as answer:
        return answer.code
    except OSError:
        return None
