"""Walks README.md from a clean clone, command by command, as the page has them.

Contract: every block of commands or configuration on the page is used, in the order of the page. A block that this file does not
expect, or a placeholder `…` that it cannot replace, ends the walk with an error. So a change of the page changes this file.

It runs in a network namespace without any network but loopback, so ports, addresses and names are those of the page. Files of the
machine (/etc, /usr/local, /var/lib) are covered by layers that end with the walk. "Deploy it" needs root, and everything else the
right to make user namespaces. What the machine does not allow is left out, and the walk says so.

What is not taken from the page:

- `cargo` installs the binaries of PUSH_SERVICE_BIN and USER_AGENT_CLIENT_BIN instead of building them, unless README_BUILDS is
  set. Then it builds, and takes minutes.
- systemd does not run here: `Unit` does what the lines of the unit mean, without those that take rights away.
- Python with pywebpush (PYTHON), nginx and redis-server (REDIS_SERVER) are used if the machine has them.
"""

import fcntl
import json
import os
import re
import resource
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# How long a step may take that normally takes less than a second.
PATIENCE = 60
# The user of the unit: one that has no entry and no files.
UNIT_USER = 61234


def main():
    if os.environ.get("README_WALK") != "inside":
        sys.exit(enter())
    loopback_up()
    with tempfile.TemporaryDirectory(prefix="readme-") as directory:
        walk = Walk(Path(directory))
        try:
            walk.run()
        finally:
            walk.end()
    for what in walk.left_out:
        print(f"left out: {what}")
    print(f"{walk.commands} commands and {walk.files} files of README.md work")


def enter():
    """Runs this file again in its own namespaces."""
    unshare = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child"]
    if os.geteuid() != 0:
        unshare += ["--user", "--map-root-user"]
    possible = subprocess.run([*unshare, "true"], capture_output=True, text=True, check=False)
    if possible.returncode != 0:
        print(f"left out: README.md is not walked, because this machine allows no namespaces: {possible.stderr.strip()}")
        return 0
    environment = {**os.environ, "README_WALK": "inside", "README_IS_ROOT": "yes" if os.geteuid() == 0 else ""}
    return subprocess.run([*unshare, sys.executable, __file__], env=environment, check=False).returncode


def loopback_up():
    """What `ip link set lo up` does."""
    get_flags, set_flags, up = 0x8913, 0x8914, 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh14x", b"lo", 0)
        _, flags = struct.unpack("16sh14x", fcntl.ioctl(any_socket, get_flags, request))
        fcntl.ioctl(any_socket, set_flags, struct.pack("16sh14x", b"lo", flags | up))


class Page:
    """The blocks of the page, each with the heading above it."""

    def __init__(self, text):
        self.blocks = []
        heading, language, lines = "", None, []
        for line in text.splitlines():
            if line.startswith("```"):
                if language is None:
                    language, lines = line[3:].strip(), []
                else:
                    self.blocks.append((heading, language, "\n".join(lines)))
                    language = None
            elif language is not None:
                lines.append(line)
            elif line.startswith("#"):
                heading = line.lstrip("# ")

    def take(self, heading, language):
        """The next block, which must be this one."""
        assert self.blocks, f"README.md has no more blocks: a {language} block of '{heading}' is expected"
        found = self.blocks.pop(0)
        assert found[:2] == (heading, language), f"README.md has a block {found[:2]}, not {(heading, language)}"
        return found[2]


class Terminal:
    """A shell with a home of its own that a person types into."""

    def __init__(self, walk, directory):
        environment = {
            "HOME": str(walk.home),
            "PATH": f"{walk.bin}:/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
        }
        self.walk = walk
        self.output = walk.directory / f"terminal-{len(walk.terminals)}"
        walk.terminals.append(self)
        with self.output.open("wb") as output:
            self.shell = subprocess.Popen(
                ["bash"], cwd=directory, env=environment, stdin=subprocess.PIPE, stdout=output,
                stderr=subprocess.STDOUT, process_group=0,
            )

    def said(self):
        return self.output.read_text(errors="replace")

    def type(self, line):
        self.walk.commands += 1
        self.shell.stdin.write(f"{line}\n".encode())
        self.shell.stdin.flush()

    def run(self, line):
        """Runs a line to its end, and returns what it printed. It must succeed."""
        before, done = len(self.said()), f"done-{time.monotonic_ns()}"
        self.type(line)
        self.shell.stdin.write(f"echo {done} $?\n".encode())
        self.shell.stdin.flush()
        self.wait_until(lambda: done in self.said()[before:], f"`{line}` ends", 1800 if "cargo" in line else PATIENCE)
        printed, status = self.said()[before:].split(done)
        assert status.strip() == "0", f"`{line}` failed with {status.strip()}:\n{printed}"
        return printed

    def wait_until(self, is_so, what, seconds=PATIENCE):
        deadline = time.monotonic() + seconds
        while not is_so():
            assert self.shell.poll() is None, f"{what}: the terminal has ended:\n{self.said()}"
            assert time.monotonic() < deadline, f"not in time: {what}\n{self.said()}"
            time.sleep(0.02)

    def wait_for(self, words):
        self.wait_until(lambda: words in self.said(), f"the terminal says {words!r}")

    def interrupt(self):
        """Ctrl-C, and the end of the terminal."""
        if self.shell.poll() is None:
            os.killpg(self.shell.pid, signal.SIGINT)
            self.shell.stdin.close()
            try:
                self.shell.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                os.killpg(self.shell.pid, signal.SIGKILL)
                self.shell.wait()


class Unit:
    """A systemd unit, as far as the page uses one."""

    KNOWN = {
        "Description", "Documentation", "After", "Wants", "WantedBy", "Type", "ExecStart", "ExecReload", "DynamicUser", "StateDirectory",
        "StateDirectoryMode", "WorkingDirectory", "UMask", "LoadCredential", "Environment", "AmbientCapabilities", "LimitNOFILE",
        "TimeoutStopSec", "Restart", "RestartSec",
    }
    # What takes rights away: the step `image` judges these lines.
    HARDENING = re.compile(
        "CapabilityBoundingSet|NoNewPrivileges|RemoveIPC|LockPersonality|MemoryDenyWriteExecute|(Private|Protect|Restrict|SystemCall).*"
        "|ProcSubset"
    )

    def __init__(self, text, name, output):
        lines = [line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#")]
        unknown = {key for key, _ in lines if not self.HARDENING.fullmatch(key)} - self.KNOWN
        assert not unknown, f"the unit has lines that this walk does not know: {unknown}"
        value = {key: text for key, text in lines}
        assert value["DynamicUser"] == "yes", "the unit's user is expected to be a dynamic one"
        state = Path("/var/lib") / value["StateDirectory"]
        credentials = Path("/run/credentials") / f"{name}.service"
        for directory in (state, credentials):
            directory.mkdir(parents=True, exist_ok=True)
        state.chmod(int(value["StateDirectoryMode"], 8))
        environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "STATE_DIRECTORY": str(state)}
        for key, text in lines:
            if key == "LoadCredential":
                credential, source = text.split(":", 1)
                target = credentials / credential
                shutil.copyfile(source, target)
                target.chmod(0o400)
                environment["CREDENTIALS_DIRECTORY"] = str(credentials)
            elif key == "Environment":
                variable, text = text.split("=", 1)
                environment[variable] = text
        command = shlex.split(value["ExecStart"])
        for path in (state, *state.rglob("*"), credentials, *credentials.iterdir()):
            os.chown(path, UNIT_USER, UNIT_USER)
        granted = ",".join(f"+{name.lower().removeprefix('cap_')}" for name in value["AmbientCapabilities"].split())
        as_user = [
            "setpriv", f"--reuid={UNIT_USER}", f"--regid={UNIT_USER}", "--clear-groups", "--no-new-privs",
            f"--inh-caps={granted}", f"--ambient-caps={granted}",
        ]
        # systemd may raise the hard limit; here it stays as it is.
        files = min(int(value["LimitNOFILE"]), resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        self.output = output
        with output.open("wb") as log:
            self.process = subprocess.Popen(
                ["prlimit", f"--nofile={files}", *as_user, *command],
                cwd=value.get("WorkingDirectory", "/"), env=environment, umask=int(value["UMask"], 8), stdout=log,
                stderr=log,
            )

    def wait_until_ready(self):
        deadline = time.monotonic() + PATIENCE
        while True:
            assert self.process.poll() is None, f"the unit has ended:\n{self.output.read_text()}"
            answer = subprocess.run(["curl", "-sf", "http://127.0.0.1:9090/readyz"], capture_output=True, check=False)
            if answer.returncode == 0:
                return
            assert time.monotonic() < deadline, f"the unit is not ready:\n{self.output.read_text()}"
            time.sleep(0.05)

    def stop(self):
        self.process.terminate()
        assert self.process.wait(PATIENCE) == 0, f"the unit did not end in order:\n{self.output.read_text()}"


class Walk:
    def __init__(self, directory):
        self.directory = directory
        self.terminals, self.units, self.processes, self.left_out = [], [], [], []
        self.commands = self.files = 0
        self.home, self.bin, self.clone = directory / "home", directory / "bin", directory / "clone"
        self.home.mkdir()
        self.bin.mkdir()
        self.install_sudo()
        self.install_cargo()

    def end(self):
        for terminal in self.terminals:
            terminal.interrupt()
        for process in [*self.processes, *(unit.process for unit in self.units)]:
            if process.poll() is None:
                process.kill()
                process.wait()

    def run(self):
        subprocess.run(["git", "clone", "-q", "--no-hardlinks", str(ROOT), str(self.clone)], check=True)
        # What is being worked on is what is walked.
        for file in ("README.md", "packaging/push-service.service"):
            (self.clone / file).parent.mkdir(exist_ok=True)
            shutil.copyfile(ROOT / file, self.clone / file)
        page = Page((self.clone / "README.md").read_text())
        assert page.take("push-service", "text"), "a picture"
        service = self.run_it(page)
        self.send_with_any_library(page)
        self.receive(page)
        self.use_rfc8030(page)
        service.interrupt()
        self.deploy(page)
        self.test_it(page)
        assert not page.blocks, f"README.md has blocks that are not walked: {page.blocks}"

    def run_it(self, page):
        service = Terminal(self, self.clone)
        service.type(page.take("Run it", "sh"))
        service.wait_until(lambda: curls("http://127.0.0.1:9090/readyz"), "the service is ready", 1800)
        (command,) = lines(page.take("Run it", "sh"))
        Terminal(self, self.clone).run(command)
        return service

    def send_with_any_library(self, page):
        code = page.take("Send with any Web Push library", "python")
        python = os.environ.get("PYTHON")
        if not python:
            self.left_out.append("pywebpush: PYTHON names no Python that has it")
            return
        terminal = Terminal(self, self.clone)
        subscribe = "subscribe --server ws://127.0.0.1:8080/ --name python --state python-state"
        subscription = json.loads(terminal.run(f"{shlex.quote(os.environ['USER_AGENT_CLIENT_BIN'])} {subscribe}"))
        terminal.run(f"{shlex.quote(python)} {shlex.quote(str(Path(python).parent / 'vapid'))} --gen")
        for placeholder, value in [
            ("http://127.0.0.1:8080/wpush/v2/…", subscription["endpoint"]),
            ('"p256dh": "…"', f'"p256dh": "{subscription["keys"]["p256dh"]}"'),
            ('"auth": "…"', f'"auth": "{subscription["keys"]["auth"]}"'),
        ]:
            code = replaced(code, placeholder, value)
        (self.clone / "send.py").write_text(code)
        printed = terminal.run(f"{shlex.quote(python)} send.py")
        assert printed.startswith("201 http://127.0.0.1:8080/"), printed

    def receive(self, page):
        one = Terminal(self, self.clone)
        *commands, listen = lines(page.take("Receive without a browser", "sh"))
        for command in commands:
            one.run(command)
        one.type(listen)
        one.wait_for("connected")
        *commands, send = lines(page.take("Receive without a browser", "sh"))
        other = Terminal(self, self.clone)
        for command in commands:
            other.run(command)
        other.run(send)
        one.wait_for("Somebody is at the door")
        one.interrupt()
        # The list below the block has one more command.
        unsubscribe = "user-agent-client unsubscribe --name doorbell"
        assert f"`{unsubscribe}`" in (self.clone / "README.md").read_text()
        other.run(unsubscribe)

    def use_rfc8030(self, page):
        subscribe, monitor, push, acknowledge = lines(page.take("Use RFC 8030 directly", "sh"))
        one, other = Terminal(self, self.clone), Terminal(self, self.clone)
        answer = one.run(subscribe)
        assert " 201" in answer, answer
        subscription = re.search(r"(?im)^location: (\S+)", answer)[1]
        push_url = re.search(r'<([^>]+)>; *rel="urn:ietf:params:push"', answer)[1]
        one.type(replaced(monitor, "http://127.0.0.1:8080/subscription/…", subscription))
        answer = other.run(replaced(push, "http://127.0.0.1:8080/push/…", push_url))
        assert " 201" in answer, answer
        one.wait_for("event: message")
        one.wait_until(lambda: re.search(r'"message": *"[^"]+"|/message/[\w-]+', one.said()), "the event names the message")
        message = re.search(r"http://127\.0\.0\.1:8080/message/[\w-]+", one.said())[0]
        other.run(replaced(acknowledge, "http://127.0.0.1:8080/message/…", message))
        assert " 404" in other.run(f"curl -si -X DELETE {message}"), "it was acknowledged before"
        one.interrupt()

    def deploy(self, page):
        heading = "The binary and its configuration"
        if not os.environ["README_IS_ROOT"]:
            self.left_out.append("Deploy it: that takes root. Its configurations without certificates are checked")
            for text in [text for _, language, text in page.blocks if language == "toml" and "[tls]" not in text]:
                self.check(text)
            page.blocks = page.blocks[-1:]
            return
        cover("/etc", "/usr/local", "/var/lib")
        Path("/run/credentials").mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run/credentials"], check=True)
        root = Terminal(self, self.clone)
        root.run(page.take(heading, "sh"))
        assert "push-service config print-default" in (self.clone / "README.md").read_text()
        root.run("push-service config print-default > /dev/null")
        with_tls = page.take(heading, "toml")
        for command in lines(page.take("As a systemd unit", "sh")):
            root.run(command)
        unit = Path("/etc/systemd/system/push-service.service").read_text()
        credentials = page.take("As a systemd unit", "ini")
        self.certificate(root)
        # A drop-in adds its lines to the section.
        self.serves_tls(root, with_tls, unit + credentials)
        self.serves_behind_a_proxy(root, page, unit)
        self.serves_from_redis(root, page)

    def certificate(self, root):
        """A certificate where a person would have one, with a key that only root can read."""
        files = Path("/etc/push-service")
        files.mkdir()
        root.type(
            "PUSH_SERVICE__PUBLIC_URL=https://push.example.org PUSH_SERVICE__LISTEN__HTTP= PUSH_SERVICE__LISTEN__TLS=127.0.0.1:8443 "
            "PUSH_SERVICE__TLS__SELF_SIGNED=true PUSH_SERVICE__STORAGE__URL=embedded:/etc/push-service/made push-service serve & echo"
        )
        made = files / "made"
        root.wait_until(lambda: curls("http://127.0.0.1:9090/readyz"), "the certificate is made")
        root.run("kill %1; wait %1")
        shutil.copyfile(made / "self-signed-certificate.pem", files / "fullchain.pem")
        shutil.copyfile(made / "self-signed-key.pem", files / "key.pem")
        (files / "key.pem").chmod(0o600)
        files.chmod(0o700)

    def check(self, text):
        """The service must accept this configuration."""
        self.files += 1
        file = self.directory / "checked.toml"
        file.write_text(text.replace('"…"', f'"{"A" * 43}"'))
        Terminal(self, self.clone).run(f"{os.environ['PUSH_SERVICE_BIN']} config check --config {file}")

    def configure(self, root, text):
        self.files += 1
        Path("/etc/push-service.toml").write_text(text)
        root.run("push-service config check --config /etc/push-service.toml")

    def start(self, unit):
        self.files += 1
        self.units.append(Unit(unit, "push-service", self.directory / f"unit-{len(self.units)}"))
        self.units[-1].wait_until_ready()
        return self.units[-1]

    def serves_tls(self, root, configuration, unit):
        self.configure(root, configuration)
        running = self.start(unit)
        answer = root.run("curl -ski --resolve push.example.org:443:127.0.0.1 -X POST https://push.example.org/subscribe")
        assert re.search(r"(?im)^location: https://push\.example\.org/", answer), answer
        running.stop()

    def serves_behind_a_proxy(self, root, page, unit):
        self.configure(root, page.take("Behind a proxy", "toml"))
        location = page.take("Behind a proxy", "nginx")
        running = self.start(unit)
        nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin")
        if nginx:
            self.start_nginx(nginx, location)
            answer = root.run("curl -si -X POST http://127.0.0.1:8088/subscribe")
            assert re.search(r"(?im)^location: https://push\.example\.org/", answer), answer
        else:
            self.left_out.append("the proxy: there is no nginx")
        running.stop()

    def start_nginx(self, nginx, location):
        at = self.directory / "nginx"
        at.mkdir()
        temporary = "".join(f"{kind}_temp_path {at}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (at / "configuration").write_text(
            f"daemon off; master_process off; pid {at}/pid; error_log stderr; events {{}}\n"
            f"http {{ access_log off; {temporary} server {{ listen 127.0.0.1:8088;\n{location}\n}} }}\n"
        )
        self.processes.append(subprocess.Popen([nginx, "-e", "stderr", "-p", str(at), "-c", str(at / "configuration")]))
        deadline = time.monotonic() + PATIENCE
        while not curls("http://127.0.0.1:8088/"):
            assert time.monotonic() < deadline, "nginx does not listen"
            time.sleep(0.05)

    def serves_from_redis(self, root, page):
        configuration = page.take("Several nodes", "toml")
        assert "`push-service keys generate`" in configuration
        key = re.search(r"(?m)^[\w-]{43}$", root.run("push-service keys generate"))[0]
        redis = os.environ.get("REDIS_SERVER") or shutil.which("redis-server")
        if not redis:
            self.left_out.append("several nodes: there is no redis-server")
            self.configure(root, replaced(configuration, '"…"', f'"{key}"'))
            return
        with open("/etc/hosts", "a", encoding="utf-8") as hosts:
            hosts.write("127.0.0.1 redis.example.org\n")
        self.processes.append(subprocess.Popen([redis, "--save", "", "--dir", str(self.directory)], stdout=subprocess.DEVNULL))
        self.configure(root, replaced(configuration, '"…"', f'"{key}"'))
        node = Terminal(self, self.clone)
        node.type("push-service serve --config /etc/push-service.toml")
        node.wait_until(lambda: curls("http://127.0.0.1:9090/readyz"), "the node on Redis is ready")
        node.interrupt()

    def test_it(self, page):
        assert page.take("Test it", "sh") == "tests/run.sh"
        listed = Terminal(self, self.clone).run("tests/run.sh --list")
        assert "black-box" in listed, listed

    def install_sudo(self):
        """The walk is root already, and no systemd runs."""
        self.program("sudo", 'exec "$@"')
        self.program("systemctl", '[ "$*" = "enable --now push-service" ] && [ -e /etc/systemd/system/push-service.service ]')

    def install_cargo(self):
        if os.environ.get("README_BUILDS"):
            cargo = shutil.which("cargo")
            home = os.environ.get("CARGO_HOME", str(Path.home() / ".cargo"))
            rustup = os.environ.get("RUSTUP_HOME", str(Path.home() / ".rustup"))
            exports = f"export CARGO_HOME={home} RUSTUP_HOME={rustup} CARGO_NET_OFFLINE=true CARGO_INSTALL_ROOT=$HOME/.cargo"
            self.program("cargo", f'{exports} PATH={Path(cargo).parent}:$PATH; exec {cargo} "$@"')
            return
        service, client = os.environ["PUSH_SERVICE_BIN"], os.environ["USER_AGENT_CLIENT_BIN"]
        self.program("cargo", f"""
case "$*" in
    "run --release --bin push-service -- "*) shift 5; exec {shlex.quote(service)} "$@" ;;
    "build --release --bin push-service") install -D {shlex.quote(service)} target/release/push-service ;;
    "install --locked --path user-agent-client")
        test -f user-agent-client/Cargo.toml && install -D {shlex.quote(client)} "$HOME/.cargo/bin/user-agent-client" ;;
    *) echo "the walk does not know: cargo $*" >&2; exit 101 ;;
esac""")

    def program(self, name, script):
        path = self.bin / name
        path.write_text(f"#!/usr/bin/env bash\n{script}\n")
        path.chmod(0o755)


def lines(block):
    """The commands of a block, without comments at their end."""
    commands = [re.sub(r" {2,}# .*| # in another terminal.*", "", line).rstrip() for line in block.splitlines()]
    return [command for command in commands if command]


def replaced(text, placeholder, value):
    assert placeholder in text, f"the page has no {placeholder!r} here:\n{text}"
    return text.replace(placeholder, value)


def curls(url):
    return subprocess.run(["curl", "-sf", "-o", "/dev/null", url], capture_output=True, check=False).returncode == 0


def cover(*directories):
    """Covers directories with layers of their own: what is written there ends with the walk."""
    layers = Path("/mnt")
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(layers)], check=True)
    for directory in directories:
        upper, work = layers / directory[1:] / "upper", layers / directory[1:] / "work"
        upper.mkdir(parents=True)
        work.mkdir()
        options = f"lowerdir={directory},upperdir={upper},workdir={work}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, directory], check=True)


if __name__ == "__main__":
    main()
