#!/bin/sh
# tests/all.sh - everything `make test` promises, step by step; the last line counts.
#
# A step that fails does not stop the others, only those that need it. Output goes to build-asan/logs/STEP.log and is
# shown when the step fails. A step that cannot run here says why and counts as skipped, never as passed.
#   tests/all.sh [STEP...]      only these steps (names as printed); none: all
set -u
cd "$(dirname "$0")/.." || exit 1
logs=build-asan/logs
mkdir -p "$logs"
passed=0
failed=0
skipped=0
only=$*
export ASAN_OPTIONS=abort_on_error=0:detect_leaks=1:strict_string_checks=1
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
galen=build-asan/galen

wanted() {
    [ -z "$only" ] && return 0
    case " $only " in *" $1 "*) return 0 ;; esac
    return 1
}

# step NAME COMMAND...
step() {
    name=$1
    shift
    wanted "$name" || return 0
    start=$(date +%s)
    printf '%-14s ' "$name"
    if "$@" >"$logs/$name.log" 2>&1; then
        passed=$((passed + 1))
        printf 'ok       %4d s\n' $(($(date +%s) - start))
        return 0
    fi
    failed=$((failed + 1))
    printf 'FAILED   %4d s, the end of %s:\n' $(($(date +%s) - start)) "$logs/$name.log"
    tail -n 60 "$logs/$name.log" | sed 's/^/    /'
    return 1
}

skip() {
    wanted "$1" || return 0
    skipped=$((skipped + 1))
    printf '%-14s skipped: %s\n' "$1" "$2"
}

# with FILE NAME COMMAND...: a step that needs a file of this tree
with() {
    file=$1
    shift
    if [ -e "$file" ]; then
        step "$@"
    else
        skip "$1" "$file is not there"
    fi
}

sanitized="-Dbuildtype=debugoptimized -Dfaults=true -Db_sanitize=address,undefined -Db_lundef=false -Dwerror=true"
web=
build_asan() {
    # shellcheck disable=SC2086 # options are meant to be split
    tools/configure build-asan $sanitized $web && ninja -C build-asan
}
unit_tiny() {
    # shellcheck disable=SC2086
    tools/configure build-tiny $sanitized -Dtiny=true && unit build-tiny unit
}
unit() {
    meson test -C "$1" --suite "$2" --print-errorlogs
}

with tools/web-build page-build tools/web-build && [ -d build/web ] && web="-Dweb=$PWD/build/web"
if step build-asan build_asan; then
    step unit unit build-asan unit
    step corpora unit build-asan fuzz
    step serve tests/serve_briefly.sh "$galen" 10
    with tests/kill9.py kill-9 python3 tests/kill9.py "$galen" --rounds 5
    with tests/remote_write.py remote-write python3 tests/remote_write.py "$galen"
    with tests/store_remote.py store-remote python3 tests/store_remote.py "$galen"
    with tests/store_faults.py store-faults python3 tests/store_faults.py "$galen" --flips 16
    # What is freed stays resident in the sanitizer's quarantine: a small one, for memory is what is looked at.
    with tests/pressure.py pressure env "ASAN_OPTIONS=$ASAN_OPTIONS:quarantine_size_mb=16:allocator_release_to_os_interval_ms=500" python3 tests/pressure.py "$galen"
    with tests/differential.py differential python3 tests/differential.py "$galen" --cases 300
    with tests/receive.py receive python3 tests/receive.py "$galen"
    with tests/bad_input.py bad-input python3 tests/bad_input.py --galen "$galen"
    step docs python3 tests/docs.py "$galen"
    with tests/page.mjs page tests/page.sh "$galen"
    step promtool tests/promtool.sh "$galen"
    if command -v prometheus >/dev/null; then
        step clients python3 tests/clients.py --galen "$galen"
    else
        skip clients "Debian's package prometheus is not installed"
    fi
    if [ -d ../shared/conformance ]; then
        step conformance python3 tests/conformance.py --galen "$galen" --runners ../shared/conformance
    else
        skip conformance "the runners (../shared/conformance) are not on this machine"
    fi
    step demo demo/demo --headless --rounds 1 --saturate 20 --galen "$galen"
fi
step unit-tiny unit_tiny
[ "$skipped" = 0 ] || echo "$skipped skipped"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
