"""Programs that run for a test: the service, Redis, Prometheus. Each is ended by the one that started it."""

import contextlib
import json
import os
import pathlib
import resource
import socket
import subprocess
import time
import urllib.error
import urllib.request

SERVICE = os.environ.get("PUSH_SERVICE_BIN", "push-service")
USER_AGENT = os.environ.get("USER_AGENT_CLIENT_BIN", "user-agent-client")
REDIS = os.environ.get("REDIS_SERVER", "redis-server")
PROMETHEUS = os.environ.get("PROMETHEUS", "prometheus")
# How long a step may take that normally takes a second or two.
PATIENCE = 30


def free_port():
    with socket.socket() as any_socket:
        any_socket.bind(("127.0.0.1", 0))
        return any_socket.getsockname()[1]


def wait_for(what, condition, patience=PATIENCE):
    """Asks every tenth of a second until the condition holds; then its value."""
    until = time.monotonic() + patience
    while not (value := condition()):
        assert time.monotonic() < until, f"waited {patience} s for: {what() if callable(what) else what}"
        time.sleep(0.1)
    return value


def answer(url):
    """The body of an answer 200, else nothing."""
    with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
        with urllib.request.urlopen(url, timeout=5) as found:
            return found.read().decode()
    return None


@contextlib.contextmanager
def running(log, *command, **options):
    with pathlib.Path(log).open("ab") as output:
        process = subprocess.Popen([*map(str, command)], stdout=output, stderr=output, **options)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


class Node:
    """A push service with settings as on the command line of a container: environment variables."""

    def __init__(self, directory, name, files=None, **settings):
        self.name, self.directory, self.files = name, directory / name, files
        self.directory.mkdir()
        self.http, self.tls, self.admin = free_port(), free_port(), free_port()
        self.settings = {"LISTEN__HTTP": f"127.0.0.1:{self.http}", "LISTEN__ADMIN": f"127.0.0.1:{self.admin}"}
        self.settings |= {"LIMITS__CONNECTIONS_PER_ADDRESS": "0"} | settings
        if "TLS__CERTIFICATE" in settings:
            self.settings["LISTEN__TLS"] = f"127.0.0.1:{self.tls}"

    @contextlib.contextmanager
    def run(self):
        variables = {f"PUSH_SERVICE__{key}": str(value) for key, value in self.settings.items()}
        limit = (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (self.files, self.files))) if self.files else None
        environment = {"PATH": os.environ["PATH"], **variables}
        with running(
            self.directory / "log", SERVICE, "serve", env=environment, cwd=self.directory, preexec_fn=limit
        ) as self.process:
            wait_for(lambda: f"{self.name}: " + (self.directory / "log").read_text()[-2000:], self.is_ready)
            yield self

    def is_ready(self):
        return answer(f"http://127.0.0.1:{self.admin}/readyz")

    def metrics(self):
        return answer(f"http://127.0.0.1:{self.admin}/metrics")


@contextlib.contextmanager
def redis(directory, port):
    with running(
        directory / "redis.log", REDIS, "--port", port, "--bind", "127.0.0.1", "--dir", directory,
        "--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction",
    ):
        wait_for("Redis", lambda: can_connect(port))
        yield


def can_connect(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def user_agent(state, *arguments):
    command = [USER_AGENT, arguments[0], *(["--state", state] if state else []), *arguments[1:]]
    made = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert made.returncode == 0, made.stderr
    return made.stdout


class Prometheus:
    """A server that scrapes nodes every second, and what its alerts are."""

    def __init__(self, directory, rules, nodes):
        self.directory, self.port = directory, free_port()
        targets = [
            {"targets": [f"127.0.0.1:{node.admin}"], "labels": {"namespace": "push", "pod": node.name}} for node in nodes
        ]
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [{"job_name": "push/push-service", "static_configs": targets}],
        }
        (directory / "prometheus.yaml").write_text(json.dumps(config))
        (directory / "rules.yaml").write_text(json.dumps(rules))

    @contextlib.contextmanager
    def run(self):
        with running(
            self.directory / "prometheus.log", PROMETHEUS, f"--config.file={self.directory}/prometheus.yaml",
            f"--storage.tsdb.path={self.directory}/prometheus", f"--web.listen-address=127.0.0.1:{self.port}",
        ):
            wait_for("Prometheus", lambda: answer(f"http://127.0.0.1:{self.port}/-/ready"))
            yield self

    def firing(self):
        """The alerts that fire now: name, pod (if it is one pod's), and texts."""
        text = answer(f"http://127.0.0.1:{self.port}/api/v1/alerts") or '{"data": {"alerts": []}}'
        found = [alert for alert in json.loads(text)["data"]["alerts"] if alert["state"] == "firing"]
        return {
            (alert["labels"]["alertname"], alert["labels"].get("pod", "")): alert["annotations"] for alert in found
        }

    def wait_until(self, *alerts):
        """Waits until exactly these alerts fire, and says what they are in words."""
        wanted = {alert if isinstance(alert, tuple) else (alert, "") for alert in alerts}
        started = time.monotonic()
        wait_for(lambda: f"{wanted}, not {set(self.firing())}", lambda: set(self.firing()) == wanted)
        print(f"{time.monotonic() - started:4.1f} s: {sorted(wanted) or 'no alert'}")
        for texts in self.firing().values():
            assert "error expanding" not in str(texts) and "no value" not in str(texts), texts
