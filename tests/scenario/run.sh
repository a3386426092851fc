#!/bin/sh
# tests/scenario/run.sh [--rounds N] [--soak SECONDS] [--galen BINARY] ... - the long version of the demo: ten rounds of
# faults, half of them against an engine that speaks llama.cpp's metrics and half vLLM's, and a soak of ten minutes in
# which nothing may be restarted. Prints a report to paste; exit status 1 if anything was missing.
set -u
cd "$(dirname "$0")/../.." || exit 1
rounds=10
soak=600
rest=
while [ $# -gt 0 ]; do
    case $1 in
    --rounds) rounds=${2:?--rounds needs a number}; shift 2 ;;
    --soak) soak=${2:?--soak needs seconds}; shift 2 ;;
    *) rest="$rest $1"; shift ;;
    esac
done
report=build/scenario
mkdir -p "$report"
first=$(((rounds + 1) / 2))
failed=0
# shellcheck disable=SC2086 # the list is meant to be split
demo/demo --headless --rounds "$first" --saturate 120 --soak "$soak" --engine-flavour llamacpp \
    --json "$report/llamacpp.json" $rest || failed=1
if [ $((rounds - first)) -gt 0 ]; then
    # shellcheck disable=SC2086
    demo/demo --headless --rounds $((rounds - first)) --saturate 60 --engine-flavour vllm \
        --json "$report/vllm.json" $rest || failed=1
fi
python3 tests/scenario/report.py "$report"/llamacpp.json "$report"/vllm.json || failed=1
exit $failed
