#!/bin/sh
# tests/conformance.sh BINARY FOLDER - a subset of the black-box conformance runners, where they are at hand.
#
# FOLDER holds promqltest.py, api.py and their testdata. The parts of PromQL and of the API that galen has are in the
# two lists below; they grow with galen, and nothing that passes may be taken out.
set -eu
cd "$(dirname "$0")/.."
GALEN=$(realpath "$1")
export GALEN
folder=$2
promql_files=literals,selectors,staleness
api_only='^(query|query_range|series|labels|label_values)'
python3 "$folder/promqltest.py" --server galen --testdata "$folder/testdata" --files "$promql_files"
python3 "$folder/api.py" --server galen --only "$api_only"
