#!/usr/bin/env bash
# Set-up, then the demo; arguments are the demo's (bash scripts/demo.sh --help).
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
bash "$root/scripts/setup_env.sh"
exec "$root/.venv/bin/python" "$root/scripts/demo.py" "$@"
