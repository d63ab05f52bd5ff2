#!/usr/bin/env bash
# Makes .venv beside this folder and installs the collection into it with the versions of constraints.txt.
# Safe to repeat: where nothing has changed since the last complete run it installs nothing.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
cd "$root"
venv_python=.venv/bin/python
stamp=.venv/.installed

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    local candidate
    for candidate in python3 python3.13 python3.12 python3.11; do
        if is_new_enough "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    echo "error: found $(python3 --version 2>/dev/null || echo 'no python3'); accepted: Python 3.11 or newer;" \
        "install one and put it on the PATH as python3" >&2
    return 1
}

# The location belongs to it, because the editable install and the commands in .venv/bin know where they lie.
state() { { echo "$root" && cat setup.cfg pyproject.toml constraints.txt; } | cksum; }

pip_install() { "$venv_python" -m pip --disable-pip-version-check install --constraint constraints.txt "$@"; }

has_nvidia_driver() { [ -e /proc/driver/nvidia/version ] || command -v nvidia-smi >/dev/null; }

install_torch() {
    local version
    version="$(sed -n 's/^torch==//p' constraints.txt)"
    if has_nvidia_driver; then
        echo "[2/3] installing torch $version"
    else
        echo "[2/3] installing torch $version for the CPU (no NVIDIA driver found)"
        # Both may fail where an index is out of reach or has no CPU build; then the plain one is tried.
        pip_install -qqq --no-deps "torch==$version+cpu" 2>/dev/null && return
        pip_install -qqq --no-deps --timeout 15 --retries 1 "torch==$version+cpu" \
            --extra-index-url https://download.pytorch.org/whl/cpu 2>/dev/null && return
    fi
    pip_install -qq "torch==$version"
}

if [ -f "$stamp" ] && is_new_enough "$venv_python" && [ "$(cat "$stamp")" = "$(state)" ]; then
    exit 0
fi
rm -f "$stamp"

python="$(find_python)"
if is_new_enough "$venv_python" && "$venv_python" -m pip --version >/dev/null 2>&1; then
    echo "[1/3] updating .venv"
    "$python" -m venv .venv
    # After a move the commands that pip has written still start the interpreter of the old place.
    { grep -lIE '^#!.*/\.venv/bin/python' .venv/bin/* || true; } |
        xargs -r sed -i "1s|^#!.*/\.venv/bin/python[0-9.]*$|#!$root/$venv_python|"
else
    echo "[1/3] creating .venv"
    "$python" -m venv --clear .venv || {
        echo "error: $python cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2
        exit 1
    }
fi

pip_install -qq setuptools wheel
install_torch
echo "[3/3] installing passion-bundles, what it needs and its tools"
pip_install -qq --no-build-isolation --editable '.[dev]'
state >"$stamp"
