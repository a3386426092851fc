#!/bin/sh
# tests/promtool.sh BINARY - Prometheus's own client asks galen, and checks galen's own exposition.
set -eu
cd "$(dirname "$0")/.."
. tests/lib.sh
start_galen "${1:?usage: tests/promtool.sh BINARY}"

# Host vitals are scraped once a second; the first ones need a moment.
for _ in $(seq 50); do
    ! promtool query instant "http://127.0.0.1:$port" 'node_load1' >"$work/answer" 2>&1 || grep -q node_load1 "$work/answer" && break
    sleep 0.2
done
grep -q 'node_load1' "$work/answer" || { cat "$work/answer" >&2; fail "promtool saw no node_load1"; }
now=$(date +%s)
promtool query range --start=$((now - 60)) --end="$now" --step=5s "http://127.0.0.1:$port" 'node_load1' >"$work/answer" \
    || fail "promtool query range failed"
promtool query series --match=node_load1 --start=$((now - 60)) --end=$((now + 60)) "http://127.0.0.1:$port" >"$work/answer" \
    || fail "promtool query series failed"
grep -q node_load1 "$work/answer" || fail "promtool query series found no node_load1"
promtool query labels --start=$((now - 60)) --end=$((now + 60)) "http://127.0.0.1:$port" __name__ | grep -q '^node_load1$' \
    || fail "promtool query labels found no node_load1"
if promtool query instant "http://127.0.0.1:$port" 'sum(' >"$work/answer" 2>&1; then
    fail "a broken expression was accepted"
fi
fetch /metrics | promtool check metrics || fail "promtool dislikes /metrics"
stop_galen
echo "promtool is content"
