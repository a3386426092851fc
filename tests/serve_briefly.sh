#!/bin/sh
# tests/serve_briefly.sh BINARY [SECONDS] - a short life under load: several readers at once, then a clean end.
# Meant for sanitizer builds; any report of theirs fails it.
set -eu
cd "$(dirname "$0")/.."
. tests/lib.sh
binary=${1:?usage: tests/serve_briefly.sh BINARY [SECONDS]}
seconds=${2:-10}

start_galen "$binary"
end=$(($(date +%s) + seconds))
readers=
for path in /metrics '/api/v1/query?query=up' '/api/v1/query?query=sum(rate(node_cpu_seconds_total%5B30s%5D))' \
    /api/v1/targets /api/galen/v1/incidents /; do
    (
        while [ "$(date +%s)" -lt "$end" ]; do
            fetch "$path" >/dev/null || exit 1
            sleep 0.05
        done
    ) &
    readers="$readers $!"
done
for pid in $readers; do
    wait "$pid" || fail "a reader got no answer"
done
fetch /metrics | grep -q '^query_' || fail "/metrics has no series of galen's own"
kill -HUP "$galen_pid"
sleep 0.5
fetch /-/ready >/dev/null || fail "galen was not ready after SIGHUP"
stop_galen
if grep -E 'Sanitizer|runtime error:' "$work/galen.log"; then
    fail "a sanitizer found something"
fi
echo "served $seconds s and ended cleanly"
