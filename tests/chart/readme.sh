#!/usr/bin/env bash
# The table of values in the chart's README.md is made from the comments of values.yaml. Without arguments this checks that it is
# current; with --write it makes it anew. Needs `npm ci` in tests/.
set -euo pipefail

cd "$(dirname "$0")/../.."
chart=helm/push-service
made=$(mktemp)
trap 'rm -f "$made"' EXIT

cp "$chart/README.md" "$made"
# Its output names each value that it does not compare; a fault ends it with an error.
log=$(tests/node_modules/.bin/readme-generator --values "$chart/values.yaml" --readme "$made" 2>&1) || {
    grep ERROR <<<"$log" || echo "$log"
    echo "$chart/values.yaml: each value needs a comment with @param"
    exit 1
}
if [ "${1:-}" = --write ]; then
    cp "$made" "$chart/README.md"
elif ! diff -u "$chart/README.md" "$made"; then
    echo "$chart/README.md is not what values.yaml says: run tests/chart/readme.sh --write"
    exit 1
fi
