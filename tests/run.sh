#!/usr/bin/env bash
# Every check of the project, on a machine that has Rust and nothing else: installs what is missing, then runs step by
# step and says what each took. A failed step does not hide the ones behind it. Meant for Debian 12 and newer.
set -euo pipefail

usage() {
    cat <<TEXT
usage: tests/run.sh [--only STEP]... [--list] [--help]

Runs every check, or only the steps that are named. Steps:

$(list_steps)

Environment:
  CADDY             a caddy to use instead of the one that is installed beside the build
  FIREFOX           a Firefox to use instead of firefox-esr
  REDIS_SERVER      a redis-server to use instead of the installed one
  VALKEY_SERVER     a valkey-server to use instead of Debian's
  RUST_TEST_THREADS unit tests that run at the same time (4)
  CARGO_TARGET_DIR  where everything is built and installed (target/)
TEXT
}

# Name, and what the step shows. The function of a step is called step_NAME, with underscores for dashes.
STEPS=(
    "format        the code is formatted"
    "lints         no warnings from rustc and clippy"
    "docs          the documentation builds without warnings"
    "no-runtime    the protocol crate has no I/O and no runtime in it"
    "build         the tests and the release build, both at once, for the steps after this one"
    "unit          unit tests, contract suites, examples, no import circles, and the list of rules that have a test"
    "simulation    both ends of the protocol against each other, 10,000 seeds"
    "cluster-simulation  several nodes over one storage, 10,000 seeds"
    "black-box     the real binary over its sockets"
    "acme          certificates that a real ACME server issues, by both challenges, and their renewal"
    "rfc8030       RFC 8030 whole on every storage, and by nghttp, Python's h2, curl, nginx"
    "cluster       three nodes on a Redis Cluster: any node will do"
    "memory        5,000 idle sessions stay within their budget"
    "floods        floods of HTTP/2 take a bounded amount of memory, and 1,020 user agents notice nothing"
    "storm         1,000 user agents come back at once, to two nodes on one Redis"
    "nothing-lost  SIGKILL under load, and every 201 comes out"
    "nothing-lost-cluster  the same with nodes on a Redis Cluster, whose wake-ups get lost as well"
    "redis-faults  Redis killed, stopped, full, emptied, failed over under traffic: no 201 is lost"
    "storage-faults  system calls of the embedded store fail one by one, and disks fill up: no 201 is lost, nothing hangs"
    "checker       every failure in docs/redis.md, with partitions; the answers are checked against the promise"
    "agent-killed  SIGKILL of the user agent under load: nothing lost, nothing twice without need"
    "lies          the user agent keeps its promise with push services that lie and handlers that fail"
    "proxies       behind nginx, HAProxy and caddy, an idle user agent loses one channel at most"
    "user-agent    pywebpush and web-push reach our own user agent"
    "firefox       pywebpush, web-push and our own send reach a real Firefox, even if the storage moves or a node dies"
)

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
target=${CARGO_TARGET_DIR:-$root/target}
export CARGO_TARGET_DIR=$target
venv=$target/senders

# Kinds of crates that would carry I/O or a runtime into the protocol crate.
RUNTIMES='tokio|mio|async-std|smol|async-io|socket2|hyper|h2|quinn|rustls|rustix|futures-executor'

step_format() { cargo fmt --all --check; }

# `--all-targets` means the targets that a plain `cargo test` runs. The tests that are run by name have to be named here too.
step_lints() {
    cargo clippy --workspace --all-targets --quiet -- -D warnings
    cargo clippy --workspace --test '*' --quiet -- -D warnings
}

step_docs() { RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet; }

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

# Both builds at the same time: each has its own lock, and neither keeps all cores busy to its end.
step_build() {
    local release failed=0
    build_binaries --bin push-bench &
    release=$!
    build_tests || failed=1
    wait "$release" || failed=1
    return "$failed"
}

# The second command leaves out the tests that are run by name. The first builds them too, so that as many crates as possible
# are built side by side.
build_tests() {
    cargo test --workspace --no-run --quiet --lib --test '*' \
        && cargo test --workspace --no-run --quiet \
        && simulation --no-run --test simulation --test cluster_simulation
}

# Four tests at a time, even with fewer cores: many of them wait for disks and servers.
step_unit() {
    install_redis
    install_valkey
    RUST_TEST_THREADS=${RUST_TEST_THREADS:-4} cargo test --workspace --quiet --no-fail-fast
}

# Their output shows the counters, and how soon each planted bug was found.
step_simulation() { simulation --test simulation; }

step_cluster_simulation() { simulation --test cluster_simulation; }

# With push-service optimised, worlds take a fifth of the time, which saves more than the build costs.
simulation() { cargo test --config profile.dev.package.push-service.opt-level=1 --workspace --quiet "$@"; }

step_black_box() {
    build_binaries
    integration_test black_box
}

# The server looks on ports 80 and 443, which takes root or ip_unprivileged_port_start=80; the test says so.
step_acme() {
    install_caddy
    build_binaries
    integration_test acme
}

step_rfc8030() {
    install_redis
    install_python
    command -v nghttp >/dev/null || apt_install nghttp2-client
    command -v curl >/dev/null || apt_install curl
    # Programs for administrators are not in everybody's path.
    PATH=$PATH:/usr/sbin
    command -v nginx >/dev/null || apt_install nginx-light
    build_binaries
    integration_test rfc8030
    PYTHON=$venv/bin/python integration_test rfc8030_clients
}

step_cluster() {
    install_redis
    build_binaries
    integration_test cluster
}

# The figures are part of the result, so they are shown.
step_memory() {
    build_binaries
    integration_test memory -- --nocapture
}

# The figures are part of the result here too.
step_floods() {
    build_binaries
    integration_test floods -- --nocapture
}

# The load tool fails if a message is lost, changed, or comes twice.
step_storm() {
    install_redis
    build_binaries --bin push-bench
    "$target/release/push-bench" storm --user-agents 1000
}

step_nothing_lost() {
    build_binaries
    integration_test nothing_lost -- --nocapture --exact nothing_is_lost
}

step_nothing_lost_cluster() {
    install_redis
    build_binaries
    integration_test nothing_lost -- --nocapture --exact nothing_is_lost_on_a_cluster
}

# A few at a time: each has servers and nodes of its own, and mostly waits for them. The times seen are shown.
step_redis_faults() {
    build_binaries
    install_redis
    integration_test redis_faults -- --nocapture --test-threads=3
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
    integration_test checker -- --nocapture
}

step_agent_killed() {
    build_binaries
    integration_test agent_killed -- --nocapture
}

# Each test mostly waits.
step_lies() {
    build_binaries
    integration_test lies -- --test-threads=8
}

# What was lost, when and why, is shown.
step_proxies() {
    install_caddy
    PATH=$PATH:/usr/sbin
    command -v nginx >/dev/null || apt_install nginx-light
    command -v haproxy >/dev/null || apt_install haproxy
    build_binaries
    integration_test proxies -- --nocapture
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

# Runs one integration test. `--workspace` because for one package alone, Cargo would choose other features of the dependencies
# and build them again.
integration_test() { cargo test --workspace --quiet --test "$@"; }

# What people run is what is tested: the release build.
build_binaries() {
    cargo build --release --bin push-service --bin user-agent-client "$@" --quiet
    export PUSH_SERVICE_BIN=$target/release/push-service USER_AGENT_CLIENT_BIN=$target/release/user-agent-client
}

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
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends "$@" >/dev/null
}

list_steps() { printf '  %s\n' "${STEPS[@]}"; }

main() {
    local chosen=() step
    while [ $# -gt 0 ]; do
        case $1 in
            --only) chosen+=("${2:?--only takes the name of a step}") && shift 2 ;;
            --list) list_steps && exit ;;
            --help | -h) usage && exit ;;
            *) usage >&2 && exit 2 ;;
        esac
    done
    for step in "${chosen[@]}"; do
        printf '%s\n' "${STEPS[@]}" | grep -q "^$step " || { echo "there is no step '$step'" >&2 && exit 2; }
    done
    command -v cargo >/dev/null || { echo "Missing: Rust. Please install it, for example with rustup." >&2 && exit 1; }

    local results=() passed=0 failed=0 started status
    for step in "${STEPS[@]%% *}"; do
        if [ ${#chosen[@]} -gt 0 ] && [[ " ${chosen[*]} " != *" $step "* ]]; then
            continue
        fi
        printf '\n=== %s\n' "$step"
        started=$SECONDS
        # A subshell of its own, so that `set -e` ends the step and not the run. Not in the `if`, where it would end
        # nothing.
        set +e
        (set -e; "step_${step//-/_}")
        status=$?
        set -e
        if [ "$status" = 0 ]; then
            passed=$((passed + 1)) && results+=("passed  $step  $((SECONDS - started)) s")
        else
            failed=$((failed + 1)) && results+=("FAILED  $step  $((SECONDS - started)) s")
        fi
        printf '=== %s\n' "${results[-1]}"
    done

    printf '\n'
    printf '%s\n' "${results[@]}" | awk '{ printf "%-8s %-20s %5d s\n", $1, $2, $3 }'
    printf '%d passed, %d failed, in %d s\n' "$passed" "$failed" "$SECONDS"
    [ "$failed" = 0 ]
}

main "$@"
