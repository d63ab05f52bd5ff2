#!/usr/bin/env bash
# Set-up, static checks, then the tests; pytest's summary is the last line.
#   bash scripts/test.sh                  all but the long matrices
#   bash scripts/test.sh --full           those too
#   bash scripts/test.sh tests/losses -x  other arguments are pytest's
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup_env.sh
python=.venv/bin/python
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" MPLBACKEND=Agg
# itk's wrappers warn when the interpreter ends, which would come after pytest's summary
export PYTHONWARNINGS="${PYTHONWARNINGS:-ignore:builtin type swig:DeprecationWarning}"

selection=(-m "not full")
arguments=()
for argument in "$@"; do
    if [ "$argument" = --full ]; then selection=(); else arguments+=("$argument"); fi
done

failed=0
check() {
    echo "== $*"
    "$python" "$@" || failed=1
}
check -m ruff check --quiet .
check -m ruff format --quiet --check .
check -m mypy --no-error-summary
if [ -f scripts/generate_bundles.py ]; then check scripts/generate_bundles.py --check; fi
if [ "$failed" -ne 0 ]; then echo "error: a static check above failed, so this run counts as failed; the tests run all the same"; fi

echo "== pytest"
# two processes with a thread each; tests of a file stay together, for what they share
"$python" -m pytest --numprocesses 2 --dist loadfile "${selection[@]}" "${arguments[@]}" || failed=1
exit "$failed"
