# tests/lib.sh - what the shell tests share: a free port, a galen of one's own, and its end. Sourced, not run.
#
#   . tests/lib.sh; start_galen build/galen [arguments of serve]; fetch /metrics; stop_galen
# The data lies in a temporary folder that goes away with the script, whatever happens to it.
set -eu
work=$(mktemp -d)
galen_pid=
trap 'status=$?; [ -z "$galen_pid" ] || kill -9 "$galen_pid" 2>/dev/null || :; rm -rf "$work"; exit $status' EXIT
trap 'exit 130' INT TERM

fail() {
    echo "FAIL: $*" >&2
    [ ! -f "$work/galen.log" ] || tail -n 40 "$work/galen.log" >&2
    exit 1
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

fetch() {
    curl -fsS -m 10 "http://127.0.0.1:$port$1"
}

# start_galen BINARY [ARGUMENT]...: returns once it is ready.
start_galen() {
    binary=$1
    shift
    port=$(free_port)
    "$binary" serve --data "$work/data" --listen "127.0.0.1:$port" "$@" >"$work/galen.log" 2>&1 &
    galen_pid=$!
    for _ in $(seq 150); do
        kill -0 "$galen_pid" 2>/dev/null || fail "galen ended while starting"
        ! curl -fs -m 2 -o /dev/null "http://127.0.0.1:$port/-/ready" || return 0
        sleep 0.2
    done
    fail "galen was not ready within 30 s"
}

# SIGTERM must end it with status 0; a sanitizer's finding at exit shows up here too.
stop_galen() {
    kill -TERM "$galen_pid"
    status=0
    wait "$galen_pid" || status=$?
    galen_pid=
    [ "$status" = 0 ] || fail "galen ended with status $status after SIGTERM"
}
