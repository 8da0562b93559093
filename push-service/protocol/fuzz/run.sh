#!/usr/bin/env bash
# Fuzzes the protocol crate's parsers on any Rust, stable too: cargo builds the targets with the compiler flags that
# cargo-fuzz would give, and libFuzzer comes with the crate libfuzzer-sys. Needs a C++ compiler, and Linux on x86-64.
set -euo pipefail

usage() {
    cat <<TEXT
usage: run.sh TARGET|all [SECONDS]      fuzz for SECONDS, each target (default: 600)
       run.sh --replay TARGET FILE...   run single cases
       run.sh --grow TARGET|all         take what reaches new code from earlier runs into corpus/
       run.sh --list | --help

Targets:
$(targets | sed 's/^/  /')

What a run finds that reaches new code is kept beside the build, in \$FOUND/TARGET; corpus/ changes by --grow only.
A case that breaks a property is written to artifacts/TARGET/, its panic to the terminal, and the run ends with an
error. docs/fuzzing.md says what to do with it.

Environment:
  CARGO_TARGET_DIR  where everything is built (target/ of the repository)
  FOUND             what earlier runs found (CARGO_TARGET_DIR/fuzz/found)
TEXT
}

here=$(cd "$(dirname "$0")" && pwd)
target_dir=${CARGO_TARGET_DIR:-$here/../../../target}/fuzz
found=${FOUND:-$target_dir/found}
triple=x86_64-unknown-linux-gnu

# What a target's corpus may grow to, so that ten targets stay below the bound that tests/corpus.rs sets.
MAX_FILES=29

# Coverage for libFuzzer, its view of comparisons, and the address sanitizer for the C and assembly that is linked.
flags="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Zsanitizer=address -Ccodegen-units=1"

targets() { (cd "$here/fuzz_targets" && printf '%s\n' *.rs | sed 's/\.rs$//'); }

# RUSTC_BOOTSTRAP lets a stable compiler take the sanitizer's flag; nothing else here is unstable.
build() {
    RUSTC_BOOTSTRAP=1 RUSTFLAGS=$flags cargo build --quiet --locked --release --target "$triple" \
        --manifest-path "$here/Cargo.toml" --target-dir "$target_dir" "$@"
}

program() { printf '%s' "$target_dir/$triple/release/$1"; }

# The longest case that is tried: little beyond what the parser takes, because time goes into short ones.
max_len() {
    case $1 in
        vapid_header | encryption_header) echo 5000 ;;
        websocket_frame | websocket_message | service_message | vapid_claims | encrypted_body) echo 1024 ;;
        *) echo 512 ;;
    esac
}

fuzz() {
    local target=$1 seconds=$2 dictionary=()
    [ ! -f "$here/dictionaries/$target.dict" ] || dictionary=(-dict="$here/dictionaries/$target.dict")
    mkdir -p "$found/$target" "$here/artifacts/$target"
    echo "=== $target, $seconds s"
    "$(program "$target")" -max_total_time="$seconds" -max_len="$(max_len "$target")" -timeout=5 -rss_limit_mb=2048 \
        -print_final_stats=1 -artifact_prefix="$here/artifacts/$target/" "${dictionary[@]}" \
        "$found/$target" "$here/corpus/$target"
}

# The corpus is for the ordinary test and for a good start, so it stays small: of what covers code that the corpus does
# not, each time what covers most of it. By covered code alone, not by how often it was run.
grow() {
    local corpus=$here/corpus/$1 scratch room path
    room=$((MAX_FILES - $(find "$corpus" -type f | wc -l)))
    scratch=$(mktemp -d)
    mkdir -p "$found/$1" "$scratch/corpus"
    cp "$corpus"/* "$scratch/corpus"
    "$(program "$1")" -set_cover_merge=1 -use_counters=0 -max_len="$(max_len "$1")" \
        -merge_control_file="$scratch/features" "$scratch/corpus" "$found/$1" 2>"$scratch/log" \
        || { cat "$scratch/log" >&2 && return 1; }
    richest "$room" "$scratch/features" | while read -r path; do
        cp "$path" "$corpus/"
    done
    rm -r "$scratch"
    echo "$1: $(find "$corpus" -type f | wc -l) files"
}

# A merge writes how many files it looked at, how many of them were there already, their paths, and a line "FT n ..."
# with the covered code of each.
richest() {
    awk -v room="$1" '
        NR == 1 { files = $1; next }
        NR == 2 { old = $1; next }
        NR <= files + 2 { path[NR - 3] = $0; next }
        $1 == "FT" && $2 < old { for (i = 3; i <= NF; i++) covered[$i] = 1 }
        $1 == "FT" && $2 >= old { features[$2] = $0 }
        END {
            while (room-- > 0) {
                best = -1; most = 0
                for (file in features) {
                    n = split(features[file], feature, " "); new = 0
                    for (i = 3; i <= n; i++) new += !(feature[i] in covered)
                    if (new > most || (new == most && new > 0 && path[file] < path[best])) { best = file; most = new }
                }
                if (most == 0) break
                print path[best]
                n = split(features[best], feature, " ")
                for (i = 3; i <= n; i++) covered[feature[i]] = 1
                delete features[best]
            }
        }' "$2"
}

chosen() {
    if [ "$1" = all ]; then
        targets
    elif targets | grep -qx -- "$1"; then
        echo "$1"
    else
        echo "there is no target '$1'; --list shows them" >&2
        return 1
    fi
}

main() {
    local action=fuzz list target
    case ${1:---help} in
        --help | -h) usage && exit ;;
        --list) targets && exit ;;
        --grow | --replay) action=${1#--} && shift ;;
        -*) usage >&2 && exit 2 ;;
    esac
    [ $# -gt 0 ] || { usage >&2 && exit 2; }
    list=$(chosen "$1") || exit 2
    if [ "$action" = replay ]; then
        build --bin "$list"
        shift
        exec "$(program "$list")" -timeout=5 "$@"
    fi
    build
    for target in $list; do
        "$action" "$target" "${2:-600}"
    done
}

main "$@"
