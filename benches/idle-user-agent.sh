#!/usr/bin/env bash
# What a user agent costs while nothing happens: memory, CPU time, wake-ups, and bytes on the wire. Needs `ss` (iproute2).
set -euo pipefail

usage() {
    cat <<TEXT
usage: benches/idle-user-agent.sh [SECONDS] [SUBSCRIPTIONS]

Runs a push service and one user agent with SUBSCRIPTIONS (20) subscriptions on loopback, waits for SECONDS (3600), and
prints what the user agent took meanwhile. Build first: cargo build --release -p push-service -p user-agent-client
TEXT
}

case ${1:-} in --help | -h) usage && exit ;; esac
seconds=${1:-3600}
subscriptions=${2:-20}
root=$(cd "$(dirname "$0")/.." && pwd)
bin=${CARGO_TARGET_DIR:-$root/target}/release
work=$(mktemp -d)
pids=()
finish() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

PUSH_SERVICE__LISTEN__HTTP=127.0.0.1:0 PUSH_SERVICE__LISTEN__ADMIN=127.0.0.1:0 PUSH_SERVICE__STORAGE__URL=memory: \
    "$bin/push-service" serve 2>"$work/service.log" &
pids+=($!)
until address=$(grep -o '"http":"[^"]*' "$work/service.log"); do sleep 0.1; done
address=${address#*:\"}

for number in $(seq "$subscriptions"); do
    "$bin/user-agent-client" subscribe --server "ws://$address/" --state "$work/state" --name "idle-$number" >/dev/null
done
"$bin/user-agent-client" listen --server "ws://$address/" --state "$work/state" >"$work/out" 2>"$work/agent.log" &
agent=$!
pids+=("$agent")

status() { awk -v key="$1:" '$1 == key { print $2 }' "/proc/$agent/status"; }
ticks() { awk '{ print $14 + $15 }' "/proc/$agent/stat"; }
# Sent and received, in bytes of TCP payload and in segments.
wire() {
    ss -tinH "dport = :${address##*:}" | tr ' ' '\n' | awk -F: '
        $1 == "bytes_sent" { sent = $2 } $1 == "bytes_received" { received = $2 }
        $1 == "segs_out" { out = $2 } $1 == "segs_in" { came = $2 }
        END { print sent + 0, received + 0, out + 0, came + 0 }'
}

# It connects, says hello, and is silent.
sleep 5
read -r sent received out came <<<"$(wire)"
ticks=$(ticks)
switches=$(status voluntary_ctxt_switches)
echo "after 5 s: $(status VmRSS) KiB resident, of which $(status RssAnon) KiB its own; measuring for $seconds s"
sleep "$seconds"
read -r sent2 received2 out2 came2 <<<"$(wire)"
cat <<TEXT
in $seconds s with $subscriptions subscriptions
  resident memory   $(status VmRSS) KiB, of which $(status RssAnon) KiB its own
  CPU time          $((($(ticks) - ticks) * 1000 / $(getconf CLK_TCK))) ms
  wake-ups          $(($(status voluntary_ctxt_switches) - switches))
  sent              $((sent2 - sent)) bytes in $((out2 - out)) segments
  received          $((received2 - received)) bytes in $((came2 - came)) segments
TEXT
