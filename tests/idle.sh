#!/bin/sh
# tests/idle.sh BINARY [SECONDS] - what galen costs when nothing happens: CPU and resident memory of `galen serve` with
# the host watched every second. Prints the figures of the README; fails beyond the aims named there.
set -eu
cd "$(dirname "$0")/.."
. tests/lib.sh
seconds=${2:-60}
start_galen "${1:?usage: tests/idle.sh BINARY [SECONDS]}"
ticks() { sed 's/.*) //' "/proc/$galen_pid/stat" | awk '{ print $12 + $13 }'; }
sleep 5
before=$(ticks)
sleep "$seconds"
after=$(ticks)
rss_kib=$(awk '/^VmRSS:/ { print $2 }' "/proc/$galen_pid/status")
awk -v used=$((after - before)) -v hz="$(getconf CLK_TCK)" -v seconds="$seconds" -v rss="$rss_kib" 'BEGIN {
    cpu = 100 * used / hz / seconds
    printf "idle for %d s: %.2f %% of a core (aim 0.5), %.1f MiB resident (aim 30)\n", seconds, cpu, rss / 1024
    exit !(cpu <= 0.5 && rss <= 30 * 1024)
}' || missed=1
stop_galen
exit "${missed:-0}"
