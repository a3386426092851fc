#!/bin/sh
# tests/page.sh BINARY - the page in a real browser, against a real galen that watches this host.
set -eu
cd "$(dirname "$0")/.."
. tests/lib.sh
node=$(tools/get-node)
start_galen "${1:?usage: tests/page.sh BINARY}"
"$node" tests/page.mjs "http://127.0.0.1:$port" || fail "the page test failed"
stop_galen
