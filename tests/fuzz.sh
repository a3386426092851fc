#!/bin/sh
# tests/fuzz.sh - every fuzz target for FUZZ_SECONDS (30) under clang's libFuzzer, ASan and UBSan, starting from its
# corpus. New inputs go to build-fuzz/corpus; a finding is kept in build-fuzz/findings: copy it into the target's
# testdata/fuzz folder together with the fix, from then on `make test` runs it.
set -eu
cd "$(dirname "$0")/.."
seconds=${FUZZ_SECONDS:-30}
CC=clang-14 CXX=clang++-14 tools/configure build-fuzz -Dbuildtype=debugoptimized -Dfuzzers=true \
    -Db_sanitize=address,undefined -Db_lundef=false
ninja -C build-fuzz $(ninja -C build-fuzz -t targets all | sed -n 's/^\(fuzz_[a-z0-9_]*\):.*/\1/p')
mkdir -p build-fuzz/findings
failed=0
ran=0
for target in build-fuzz/fuzz_*; do
    [ -f "$target" ] && [ -x "$target" ] || continue
    name=$(basename "$target" | sed 's/^fuzz_//')
    room=${name%%_*}
    corpus=build-fuzz/corpus/$name
    mkdir -p "$corpus"
    seeds=
    for folder in "src/$room/testdata/fuzz/${name#*_}" "src/$room/testdata/fuzz/${name#*_}_fuzz"; do
        [ ! -d "$folder" ] || seeds="$seeds $folder"
    done
    ran=$((ran + 1))
    # shellcheck disable=SC2086 # the list is meant to be split
    if "$target" -max_total_time="$seconds" -max_len=65536 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="build-fuzz/findings/$name-" "$corpus" $seeds >"build-fuzz/$name.log" 2>&1; then
        echo "ok      $name ($(sed -n 's/^stat::number_of_executed_units: *//p' "build-fuzz/$name.log") inputs)"
    else
        failed=$((failed + 1))
        echo "FAILED  $name"
        tail -n 40 "build-fuzz/$name.log"
    fi
done
echo "$((ran - failed)) passed, $failed failed"
[ "$failed" = 0 ] && [ "$ran" -gt 0 ]
