"""The files and the environment that a rendered pod would have, in a directory instead of a container."""

import os
import pathlib
import subprocess

from assertions import references_of_volume

# A password with every character that a URL would need encoded.
PASSWORD = "p@:/%#?w"
SERVICE = os.environ.get("PUSH_SERVICE_BIN", "push-service")
PATHS = ("/etc/push-service", "/var/lib/push-service")


class Pod:
    """Makes the files of all volumes below `root`. `secrets` has the content of each file, by its name in the pod."""

    def __init__(self, rendered, root, secrets, change=lambda toml: toml):
        self.rendered, self.root, self.secrets = rendered, pathlib.Path(root), secrets
        self.change = change
        volumes = {volume["name"]: volume for volume in rendered.pod.get("volumes", [])}
        for mount in rendered.container["volumeMounts"]:
            directory = pathlib.Path(self.inside(mount["mountPath"]))
            if not mount["mountPath"].startswith(PATHS):
                continue
            directory.mkdir(parents=True, exist_ok=True)
            for kind, _, keys in references_of_volume(volumes.get(mount["name"], {}), rendered):
                for path in keys.values():
                    self.write(directory / path, kind)

    def inside(self, text):
        for path in PATHS:
            text = text.replace(path, f"{self.root}{path}")
        return text

    def write(self, path, kind):
        own = kind == "ConfigMap" and path.name == "push-service.toml"
        path.write_text(self.change(self.inside(self.rendered.toml_text)) if own else self.secrets[path.name])
        # In a pod root owns them, and the group of the pod reads them. Here they belong to the process itself.
        path.chmod(0o400)

    @property
    def environment(self):
        """Nothing of this machine's, as in a container."""
        environment = {}
        for variable in self.rendered.container["env"]:
            if "valueFrom" in variable:
                environment[variable["name"]] = self.secrets[variable["valueFrom"]["secretKeyRef"]["key"]].strip()
            else:
                environment[variable["name"]] = self.inside(variable["value"])
        return environment

    @property
    def configuration(self):
        arguments = self.rendered.container["args"]
        return self.inside(arguments[arguments.index("--config") + 1])

    def check(self):
        return subprocess.run(
            [SERVICE, "config", "check", "--config", self.configuration],
            env=self.environment, capture_output=True, text=True, timeout=30, check=False,
        )

    def start(self):
        """The command of the container."""
        return subprocess.Popen(
            [SERVICE, *map(self.inside, self.rendered.container["args"])],
            env=self.environment, cwd=self.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )


def make_secrets(directory):
    """Content of every file that the chart mounts from a Secret."""
    key = subprocess.run([SERVICE, "keys", "generate"], capture_output=True, text=True, timeout=30, check=True).stdout
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=push.example.net"
    names = "subjectAltName=DNS:push.example.net,IP:127.0.0.1"
    subprocess.run(
        [*command.split(), "-addext", names, "-addext", "basicConstraints=critical,CA:FALSE",
         "-keyout", directory / "tls.key", "-out", directory / "tls.crt"],
        capture_output=True, timeout=30, check=True,
    )
    certificate = (directory / "tls.crt").read_text()
    return {
        "sealing-keys": key,
        "redis-password": f"{PASSWORD}\n",
        "redis-url": "redis://redis.example.net:6379\n",
        "user-agent-secret": "a-word-for-user-agents\n",
        "admin-token": "a-token-for-the-administrator-of-this-service\n",
        "tls.crt": certificate,
        "tls.key": (directory / "tls.key").read_text(),
        "ca.crt": certificate,
    }
