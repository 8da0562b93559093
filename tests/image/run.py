"""The image and what is in packaging/: built, looked into, and run as a container runtime runs it.

The image is made by `packaging/image.sh` from the programs of PUSH_SERVICE_BIN and USER_AGENT_CLIENT_BIN. Its root file system is
then all that a process sees: read-only, as a user that nobody has, without capabilities, as process 1 of a namespace. It runs in a
network namespace without any network but loopback. That takes root; without root, files are checked, and the rest is left out.

Environment: TOOLS is the directory with the linters and syft; REDIS_SERVER names a redis-server with TLS; PROFILE is the one that
the programs were built with.
"""

import ctypes
import fcntl
import http.client
import json
import os
import re
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
PACKAGING = ROOT / "packaging"
TOOLS = Path(os.environ["TOOLS"])
# How long something may take that normally takes less than a second.
PATIENCE = 30
MB = 1_000_000
# What the image may take, without the debug assertions and with the optimisations at link time of the release build.
SIZE_LIMIT = 25 * MB
# The profile `ci` makes larger programs.
SIZE_LIMIT_CI = 32 * MB
READY_WITHIN = 0.2
# The exposure that `systemd-analyze security` may find, times 10.
EXPOSURE = 20
# A user without any entry.
FOREIGN = 12345
ADMIN = ("127.0.0.1", 9090)


def main():
    inside = os.environ.get("IMAGE_TEST")
    if not inside:
        lint()
        check_unit()
        sys.exit(enter())
    loopback_up()
    Image(Path(inside)).test()


def enter():
    """Runs this file again in its own namespaces."""
    unshare = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid() != 0 or subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode != 0:
        print("left out: the image is neither built nor run, because that takes root and namespaces")
        return 0
    # All mounts have ended when the directory is removed.
    with tempfile.TemporaryDirectory(prefix="image-") as directory:
        environment = {**os.environ, "IMAGE_TEST": directory}
        return subprocess.run([*unshare, sys.executable, __file__], env=environment, check=False).returncode


def loopback_up():
    """What `ip link set lo up` does."""
    get_flags, set_flags, up = 0x8913, 0x8914, 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh14x", b"lo", 0)
        _, flags = struct.unpack("16sh14x", fcntl.ioctl(any_socket, get_flags, request))
        fcntl.ioctl(any_socket, set_flags, struct.pack("16sh14x", b"lo", flags | up))


# ---- Files


def lint():
    """Linters find nothing in the Containerfile, the workflow and the compose files."""
    workflow = ".github/workflows/release.yml"
    run(TOOLS / "hadolint", "Containerfile")
    run(TOOLS / "zizmor", "--offline", "--quiet", "--persona", "pedantic", workflow)
    run(TOOLS / "yamllint", "--strict", "--config-file", "tests/image/yamllint.yaml", workflow, "packaging")
    run(TOOLS / "shellcheck", "packaging/image.sh")
    unpinned = [line for line in (ROOT / workflow).read_text().splitlines() if "uses:" in line and not re.search(r"@[0-9a-f]{40} # v\d", line)]
    assert not unpinned, f"actions are pinned by a commit, with the version beside it: {unpinned}"
    # A linter that finds nothing must be one that can find something.
    with tempfile.TemporaryDirectory() as directory:
        bad = Path(directory) / "bad.yml"
        bad.write_text((ROOT / workflow).read_text().replace("permissions: {}", "permissions: write-all"))
        assert fails(TOOLS / "zizmor", "--offline", "--quiet", "--persona", "pedantic", bad), "zizmor finds a planted fault"
        bad = Path(directory) / "Containerfile"
        bad.write_text((ROOT / "Containerfile").read_text().replace("COPY root/", "ADD root/"))
        assert fails(TOOLS / "hadolint", bad), "hadolint finds a planted fault"
    print("Containerfile, workflow and compose files: linters find nothing")


def check_unit():
    """The unit is accepted and exposes little, and its system call filter allows all that the service calls."""
    unit = PACKAGING / "push-service.service"
    with tempfile.TemporaryDirectory() as directory:
        # The path of the program must exist, and the name of the unit is that of the file.
        there = Path(directory) / unit.name
        there.write_text(unit.read_text().replace("/usr/local/bin/push-service", os.environ["PUSH_SERVICE_BIN"]))
        said = run("systemd-analyze", "verify", "--man=no", there)
        assert not said, f"systemd-analyze verify: {said}"
    said = run("systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE}", unit)
    exposure = re.search(r"Overall exposure level[^:]*: ([\d.]+)", said)[1]
    called = system_calls()
    refused = called - allowed_calls(unit.read_text())
    assert not refused, f"the unit's SystemCallFilter refuses what the service calls: {sorted(refused)}"
    print(f"unit: exposure {exposure}; all {len(called)} system calls that the service makes are allowed")


def system_calls():
    """The calls of the service from its start to its end, with embedded storage, TLS and a subscription."""
    with tempfile.TemporaryDirectory() as directory:
        trace, log = Path(directory) / "trace", Path(directory) / "log"
        environment = {
            "PUSH_SERVICE__LISTEN__HTTP": "127.0.0.1:0",
            "PUSH_SERVICE__LISTEN__ADMIN": "127.0.0.1:0",
            "PUSH_SERVICE__LISTEN__TLS": "127.0.0.1:0",
            "PUSH_SERVICE__TLS__SELF_SIGNED": "true",
            "PUSH_SERVICE__PUBLIC_URL": "https://push.example.org",
            "PUSH_SERVICE__STORAGE__URL": f"embedded:{directory}/data",
            "PUSH_SERVICE__LOG__FORMAT": "json",
        }
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["strace", "-f", "-qq", "-o", trace, os.environ["PUSH_SERVICE_BIN"], "serve"],
                env=environment, cwd=directory, stdout=output, stderr=output, process_group=0,
            )
        try:
            wait_until(lambda: '"listening"' in log.read_text(), f"the service listens under strace: {log.read_text()}")
            listening = next(line for line in log.read_text().splitlines() if '"listening"' in line)
            for port in set(re.findall(r"127\.0\.0\.1:(\d+)", listening)):
                try:
                    post_subscribe(int(port))
                except (OSError, http.client.HTTPException, AssertionError):
                    # The port of TLS or of the admin listener: that call is answered as well.
                    pass
            os.killpg(process.pid, signal.SIGINT)
            process.wait(PATIENCE)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        called = set(re.findall(r"(?m)^\d+ +(?:<\.\.\. )?(\w+)(?:\(| resumed)", trace.read_text()))
        assert {"accept4", "fdatasync", "openat"} & called, f"strace saw the service: {called}"
        return called


def allowed_calls(unit):
    """What the lines SystemCallFilter= of a unit allow together."""
    allowed = group_of_calls("@default")
    for line in re.findall(r"(?m)^SystemCallFilter=(.*)$", unit):
        calls = set().union(*(group_of_calls(name) for name in line.removeprefix("~").split()))
        allowed = allowed - calls if line.startswith("~") else allowed | calls
    return allowed


def group_of_calls(name):
    if not name.startswith("@"):
        return {name}
    listed = [line.strip() for line in run("systemd-analyze", "syscall-filter", "--no-pager", name).splitlines()[1:]]
    return set().union(*(group_of_calls(entry) for entry in listed if entry and not entry.startswith("#")))


# ---- The image


class Image:
    def __init__(self, directory):
        self.directory = directory
        self.root = directory / "bundle" / "rootfs"

    def test(self):
        self.build_twice()
        self.look_into()
        self.check_packages()
        self.prepare()
        self.run_alone()
        self.run_compose()
        with RedisByName(self) as redis:
            self.find_redis(redis)

    def build_twice(self):
        """Two builds, with another mask and another time zone, give the same digest."""
        programs = self.directory / "programs"
        programs.mkdir()
        for variable in ("PUSH_SERVICE_BIN", "USER_AGENT_CLIENT_BIN"):
            (programs / Path(os.environ[variable]).name).symlink_to(os.environ[variable])
        image = [PACKAGING / "image.sh", "--programs", programs, "--out"]
        environment = {**os.environ, "REVISION": "f" * 40, "SYFT": str(TOOLS / "syft")}
        run(*image, self.directory / "one", env=environment)
        other = {**environment, "TZ": "Asia/Tokyo", "LC_ALL": "C", "SYFT": "", "PATH": os.environ["PATH"]}
        run("bash", "-c", 'umask 077 && exec "$@"', "bash", *image, self.directory / "two", env=other)
        first, second = ((self.directory / name / "digest").read_text() for name in ("one", "two"))
        assert first == second, f"two builds: {first} and {second}"
        (self.layout,) = (f"oci:{self.directory}/one/oci:{tag}" for tag in [version()])
        print(f"image: {first} twice")

    def look_into(self):
        """Labels, entry point, user; and exactly the files that belong there."""
        told = json.loads(run("skopeo", "inspect", "--config", self.layout))["config"]
        labels = {key.removeprefix("org.opencontainers.image."): value for key, value in told["Labels"].items()}
        assert labels["version"] == version() and labels["revision"] == "f" * 40, labels
        assert {"title", "description", "licenses"} <= labels.keys(), labels
        assert (told["Entrypoint"], told["Cmd"], told.get("User")) == (["push-service"], ["serve"], "65532:65532"), told
        self.environment = dict(entry.split("=", 1) for entry in told["Env"])
        self.working_directory = told["WorkingDir"]
        run("umoci", "unpack", "--image", self.layout.removeprefix("oci:"), self.directory / "bundle")
        files = {str(path.relative_to(self.root)) for path in self.root.rglob("*") if not path.is_dir()}
        libraries = {name for name in files if name.startswith("lib")}
        assert {Path(name).name.split(".")[0].split("-")[0] for name in libraries} == {"ld", "libc", "libgcc_s", "libm"}, libraries
        assert len(libraries) == 4, libraries
        rest = {name for name in files - libraries if not name.startswith(("usr/share/doc/", "var/lib/dpkg/status.d/"))}
        expected = {
            "etc/nsswitch.conf", "etc/os-release", "etc/ssl/certs/ca-certificates.crt", "usr/bin/push-service", "usr/bin/user-agent-client",
        }
        assert rest == expected, rest ^ expected
        trusted = (self.root / "etc/ssl/certs/ca-certificates.crt").read_text().count("BEGIN CERTIFICATE")
        assert trusted >= 100, f"the image trusts {trusted} CAs"
        for program in ("push-service", "user-agent-client"):
            sections = run("readelf", "--section-headers", "--wide", self.root / "usr/bin" / program)
            assert ".symtab" not in sections and ".debug" not in sections, f"{program} is stripped"
        state = (self.root / "var/lib/push-service").stat()
        assert (state.st_uid, state.st_gid, stat.S_IMODE(state.st_mode)) == (65532, 0, 0o770), state
        unpacked = sum(path.lstat().st_size for path in self.root.rglob("*") if path.is_file())
        packed = sum(path.stat().st_size for path in (self.directory / "one/oci").rglob("*") if path.is_file())
        limit = SIZE_LIMIT if os.environ.get("PROFILE") == "release" else SIZE_LIMIT_CI
        assert unpacked <= limit and packed <= SIZE_LIMIT, f"{unpacked} bytes, {packed} in a registry"
        print(f"image: {unpacked / MB:.1f} MB, {packed / MB:.1f} MB in a registry, {len(files)} files")

    def check_packages(self):
        """The SBOM names what is linked, and nothing that is only for tests."""
        listed = json.loads((self.directory / "one/sbom.cdx.json").read_text())["components"]
        names = {component["name"] for component in listed}
        expected = {"push-service", "user-agent-client", "tokio", "rustls", "fjall", "libc6", "libgcc-s1", "ca-certificates"}
        assert expected <= names, f"missing in the SBOM: {expected - names}"
        assert not {"criterion", "proptest", "rcgen-dev", "push-tests"} & names, "the SBOM names what is only for tests"
        print(f"SBOM: {len(listed)} packages")

    def prepare(self):
        """What a runtime adds: /proc, names, and a place for files. The rest of the root is read-only."""
        (self.root / "etc/hosts").write_text("127.0.0.1 localhost push.example.org\n127.0.0.2 redis-in-hosts\n")
        (self.root / "etc/resolv.conf").write_text(
            "nameserver 127.0.0.53\nsearch push.svc.cluster.local svc.cluster.local\noptions ndots:5 timeout:1\n"
        )
        run("mount", "--bind", self.root, self.root)
        run("mount", "-o", "remount,bind,ro", self.root)
        run("mount", "-t", "proc", "proc", self.root / "proc")
        run("mount", "-t", "tmpfs", "tmpfs", self.root / "run")
        assert (self.root / "run").is_mount()

    def start(self, environment, uid=FOREIGN, gid=FOREIGN):
        return Container(self, ["push-service", "serve"], environment, uid, gid)

    def command(self, arguments, environment=()):
        """Runs a command in the image to its end."""
        return Container(self, arguments, dict(environment), FOREIGN, FOREIGN).ended()

    def run_alone(self):
        """Ready at once with nothing but the root: in memory, and on a volume that the group 0 may write."""
        state = self.root / "var/lib/push-service"
        times = []
        for _ in range(5):
            with self.start({"PUSH_SERVICE__STORAGE__URL": "memory:"}) as service:
                times.append(service.ready())
                service.assert_restricted()
                self.probe()
                assert service.stop() == 0, service.said()
        # The best of a few: other steps run beside this one.
        assert min(times) <= READY_WITHIN, f"ready after {times}"
        print(f"ready {1000 * min(times):.0f} ms after the start of the container (limit {1000 * READY_WITHIN:.0f} ms), as any user")
        # A new volume takes owner and mode from the image's directory.
        run("mount", "-t", "tmpfs", "-o", "uid=65532,gid=0,mode=0770", "tmpfs", state)
        for uid, gid in ((65532, 65532), (FOREIGN, 0)):
            with self.start({}, uid, gid) as service:
                embedded = service.ready()
                assert self.command(["push-service", "healthcheck"])[0] == 0, "healthcheck of a service that is ready"
                self.probe()
                assert service.stop() == 0, service.said()
                shutil.rmtree(state / "push-service-data")
        assert self.command(["push-service", "healthcheck"])[0] == 1, "healthcheck of a service that does not run"
        assert embedded < PATIENCE
        print("embedded storage on a volume: as the image's user, and as another user of the group 0")

    def probe(self):
        """What `helm test` runs: a message to a user agent and back. Without that command, a subscription."""
        if " probe " in self.command(["user-agent-client", "--help"])[1]:
            status, said = self.command(["user-agent-client", "probe", "--server", "ws://push.example.org:8080/"])
            assert status == 0, said
        else:
            post_subscribe(8080)

    def run_compose(self):
        """The environment of the compose files is one that the service accepts, and its healthcheck is a command in the image."""
        one = yaml.safe_load((PACKAGING / "compose.yaml").read_text())["services"]["push-service"]
        more = yaml.safe_load((PACKAGING / "compose.redis.yaml").read_text())
        secrets = self.root / "run/secrets"
        secrets.mkdir()
        (secrets / "sealing-keys").write_text(self.command(["push-service", "keys", "generate"])[1].splitlines()[0] + "\n")
        (secrets / "redis-password").write_text("a@b:c/d%e#f\n")
        assert set(more["services"]["push-service"]["secrets"]) == {path.name for path in secrets.iterdir()}
        both = {**one["environment"], **more["services"]["push-service"]["environment"]}
        for environment in [one["environment"], both]:
            given = {key: re.sub(r"\$\{PUBLIC_URL:[^}]*\}", "https://push.example.org", value) for key, value in environment.items()}
            status, said = self.command(["push-service", "config", "check"], given)
            assert status == 0, f"{given}: {said}"
        assert one["healthcheck"]["test"] == ["CMD", "push-service", "healthcheck"]
        print("compose files: the service accepts their environment, with secrets from files")

    def find_redis(self, redis):
        ca = {"PUSH_SERVICE__STORAGE__REDIS__CA": "/run/ca.crt"}
        times = []
        for what, url, more in [
            ("a name in /etc/hosts", "redis://redis-in-hosts:6379", {}),
            ("a name of DNS", "redis://redis:6379", {}),
            ("TLS, CA from a file", "rediss://redis:6380", ca),
        ]:
            times.append((self.serves_from(redis, url, more), what))
        # The image's own list is used when no file is named.
        with self.start({**redis.environment, "PUSH_SERVICE__STORAGE__URL": "rediss://redis:6380"}) as service:
            wait_until(lambda: re.search("certificate|UnknownIssuer", service.said()), f"it says what is wrong: {service.said()}")
            assert service.answer("/readyz") != 200, "it does not trust a certificate of a foreign CA"
        bundle = self.root / "etc/ssl/certs/ca-certificates.crt"
        (self.root / "run/bundle").write_text(bundle.read_text() + (self.root / "run/ca.crt").read_text())
        run("mount", "--bind", self.root / "run/bundle", bundle)
        times.append((self.serves_from(redis, "rediss://redis:6380", {}), "TLS, CA in the image's list"))
        print("Redis: " + "; ".join(f"{what}: ready after {1000 * seconds:.0f} ms" for seconds, what in times))

    def serves_from(self, redis, url, more):
        """Seconds until a service on this Redis is ready: the best of three. Messages pass through it."""
        times = []
        for _ in range(3):
            with self.start({**redis.environment, "PUSH_SERVICE__STORAGE__URL": url, **more}) as service:
                times.append(service.ready())
                self.probe()
                assert service.stop() == 0, service.said()
        assert min(times) <= READY_WITHIN, f"{url}: ready after {times}"
        return min(times)


class Container:
    """A process in the image's root, as process 1 of its namespace, without rights."""

    BASIC = {
        "PUSH_SERVICE__LISTEN__HTTP": "127.0.0.1:8080",
        "PUSH_SERVICE__LISTEN__ADMIN": f"{ADMIN[0]}:{ADMIN[1]}",
    }

    def __init__(self, image, command, environment, uid, gid):
        self.log = image.directory / f"log-{time.monotonic_ns()}"
        self.log.touch()
        self.started = time.monotonic()
        self.status = None
        program = image.root / image.environment["PATH"].lstrip("/") / command[0]
        assert program.exists()
        basic = self.BASIC if command[-1] == "serve" else {}
        self.runner = os.fork()
        if self.runner == 0:
            try:
                os.setpgid(0, 0)
                output = os.open(self.log, os.O_WRONLY | os.O_APPEND)
                os.dup2(output, 1), os.dup2(output, 2)
                os.chroot(image.root)
                os.chdir(image.working_directory)
                contain(command, {**image.environment, **basic, **environment}, uid, gid)
            finally:
                os._exit(126)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.status is None:
            os.killpg(self.runner, signal.SIGKILL)
            self.wait()

    def wait(self):
        wait_until(self.has_ended, f"the container ends: {self.said()}")
        return self.status

    def has_ended(self):
        if self.status is None:
            ended, status = os.waitpid(self.runner, os.WNOHANG)
            self.status = os.waitstatus_to_exitcode(status) if ended else None
        return self.status is not None

    def ended(self):
        with self:
            return self.wait(), self.said()

    def said(self):
        return self.log.read_text(errors="replace")

    def answer(self, path):
        """The status code of the admin listener; 0 without an answer."""
        connection = http.client.HTTPConnection(*ADMIN, timeout=PATIENCE)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()

    def ready(self):
        """Seconds from the start until it is ready."""
        wait_until(lambda: self.has_ended() or self.answer("/readyz") == 200, f"the service is ready: {self.said()}", 0.001)
        assert self.status is None, f"the service has ended with {self.status}: {self.said()}"
        return time.monotonic() - self.started

    def process(self):
        return int(Path(f"/proc/{self.runner}/task/{self.runner}/children").read_text().split()[0])

    def assert_restricted(self):
        told = dict(line.split(":\t", 1) for line in Path(f"/proc/{self.process()}/status").read_text().splitlines() if ":\t" in line)
        assert set(told["Uid"].split()) == {str(FOREIGN)} and set(told["Gid"].split()) == {str(FOREIGN)}, told
        assert all(int(told[name], 16) == 0 for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")), told
        assert told["NoNewPrivs"] == "1" and not told["Groups"].strip() and told["NSpid"].split()[-1] == "1", told

    def stop(self):
        """Ctrl-C to process 1: no delay, no spread."""
        os.kill(self.process(), signal.SIGINT)
        return self.wait()


def contain(command, environment, uid, gid):
    """Becomes a process without rights, as process 1. This process waits for it, and ends as it ended."""
    libc = ctypes.CDLL(None, use_errno=True)
    new_pid_namespace, drop_bounding, no_new_privileges, die_with_parent = 0x20000000, 24, 38, 1
    if libc.unshare(new_pid_namespace) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    child = os.fork()
    if child:
        signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 0xFF)
    libc.prctl(die_with_parent, signal.SIGKILL, 0, 0, 0)
    for capability in range(64):
        libc.prctl(drop_bounding, capability, 0, 0, 0)
    os.umask(0o022)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    libc.prctl(no_new_privileges, 1, 0, 0, 0)
    os.execve(f"{environment['PATH']}/{command[0]}", command, environment)


class RedisByName:
    """A Redis with TLS on 127.0.0.2, whose name `redis` only DNS knows, and a CA of its own."""

    PASSWORD = "a@b:c/d%e#f"

    def __init__(self, image):
        at = image.directory / "redis"
        at.mkdir()
        self.processes = []
        subject = ["-subj", "/CN=redis", "-addext", "subjectAltName=DNS:redis"]
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        run("openssl", "req", "-x509", *key, "-keyout", at / "ca.key", "-out", at / "ca.crt", "-days", "2", "-subj", "/CN=Test CA")
        run("openssl", "req", *key, "-keyout", at / "key.pem", "-out", at / "request", *subject)
        (at / "extensions").write_text("subjectAltName=DNS:redis\n")
        run("openssl", "x509", "-req", "-in", at / "request", "-CA", at / "ca.crt", "-CAkey", at / "ca.key", "-CAcreateserial",
            "-days", "2", "-extfile", at / "extensions", "-out", at / "cert.pem")
        shutil.copyfile(at / "ca.crt", image.root / "run/ca.crt")
        names = [sys.executable, ROOT / "tests/image/names.py", "127.0.0.53", "redis.push.svc.cluster.local", "127.0.0.2"]
        self.processes.append(subprocess.Popen(names, stdout=subprocess.PIPE))
        assert self.processes[0].stdout.readline() == b"listening\n"
        tls = ["--tls-port", "6380", "--tls-cert-file", at / "cert.pem", "--tls-key-file", at / "key.pem", "--tls-ca-cert-file",
               at / "ca.crt", "--tls-auth-clients", "no"]
        server = [os.environ["REDIS_SERVER"], "--bind", "127.0.0.2", "--save", "", "--dir", at, "--maxmemory-policy", "noeviction", *tls]
        with (at / "log").open("wb") as log:
            self.processes.append(subprocess.Popen([*server, "--requirepass", self.PASSWORD], stdout=log, stderr=log))
        wait_until(lambda: reaches("127.0.0.2", 6380), f"Redis listens: {(at / 'log').read_text()}")
        self.environment = {
            "PUSH_SERVICE__STORAGE__REDIS__PASSWORD_FILE": "/run/secrets/redis-password",
            "PUSH_SERVICE__SECURITY__SEALING_KEYS_FILE": "/run/secrets/sealing-keys",
        }

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait()


# ---- Helpers


def version():
    return re.search(r'(?m)^version = "(.*)"$', (ROOT / "Cargo.toml").read_text())[1]


def run(*command, **options):
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options)
    assert done.returncode == 0, f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def fails(*command):
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode != 0


def reaches(host, port):
    with socket.socket() as any_socket:
        return any_socket.connect_ex((host, port)) == 0


def post_subscribe(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request("POST", "/subscribe")
    status = connection.getresponse().status
    connection.close()
    assert status == 201, f"POST /subscribe: {status}"


def wait_until(is_so, what, every=0.01):
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(every)


if __name__ == "__main__":
    main()
