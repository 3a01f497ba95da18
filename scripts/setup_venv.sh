#!/usr/bin/env bash
# setup_venv.sh fly|test STAMP: make (or bring up to date) the virtual environment and touch STAMP.
# fly: what flying needs, with neither torch nor a compiler. test: everything, and the tools.
# Environment: PYTHON (default python3), VENV (default .venv), ROS_DISTRO (set by a sourced ROS).
set -euo pipefail

set_name=$1
stamp=$2
python=${PYTHON:-python3}
venv=${VENV:-.venv}
mode=${ROS_DISTRO:-wheels}

fail() {
    echo "setup: $1" >&2
    exit 2
}

command -v "$python" > /dev/null || fail "no '$python' here; name a Python 3.10-3.12 with PYTHON=..."
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2> /dev/null) || fail "'$python' does not run"
case $version in
    3.10 | 3.11 | 3.12) ;;
    *) fail "Python 3.10-3.12 needed, '$python' is $version; name another with PYTHON=python3.11" ;;
esac

venv_flags=()
extras=sim
case $mode in
    wheels) extras=ros,$extras ;;
    jazzy)
        "$python" -c 'import rclpy' > /dev/null 2>&1 ||
            fail "ROS jazzy is sourced but '$python' ($version) cannot import its rclpy; use jazzy's Python or an unsourced shell"
        venv_flags=(--system-site-packages)
        ;;
    *) fail "ROS '$mode' is sourced; control_stack speaks jazzy: source that, or use a shell without ROS" ;;
esac
if [ "$set_name" = test ]; then
    extras=$extras,mpc,mip,filter,hardware,learn,ray,dev
fi

"$python" -c 'import ensurepip, venv' > /dev/null 2>&1 ||
    fail "the venv module is missing; on Debian or Ubuntu: apt install python$version-venv"

# A venv of another Python or of another ROS mode cannot be converted.
wanted="$version $mode"
if [ "$(cat "$venv/.made-for" 2> /dev/null || true)" != "$wanted" ]; then
    rm -rf "$venv"
    echo "Setting up $venv (first call only, 1-3 minutes) ..."
    "$python" -m venv "${venv_flags[@]}" "$venv"
    echo "$wanted" > "$venv/.made-for"
else
    echo "Updating $venv for 'make $set_name' ..."
fi

# A torch that someone else put there stays, whatever its version: pip then must not see the pin.
torch_version() {
    "$venv/bin/python" -c 'import importlib.metadata as m; print(m.version("torch"))' 2> /dev/null || true
}
constraints=constraints.txt
if [ "$(torch_version)" != "$(cat "$venv/.torch" 2> /dev/null || true)" ]; then
    constraints=$venv/constraints.txt
    grep -v '^torch==' constraints.txt > "$constraints"
fi

install() {
    # pip also calls a clash among packages outside .venv an error: its words are shown when it fails.
    if ! "$venv/bin/python" -m pip install -qq --disable-pip-version-check -c "$constraints" "$@" \
        2> "$venv/.pip-errors"; then
        cat "$venv/.pip-errors" >&2
        echo "setup: pip failed, see above; the same command again retries" >&2
        exit 1
    fi
}

install pip setuptools
if [ "$set_name" = test ]; then
    install --only-binary=:all: hatchling # builds foundation-policy
fi
# empy and foundation-policy are pure Python and ship no wheel; the venv builds them, and nothing else is built.
install --only-binary=:all: --no-binary=empy,foundation-policy --no-build-isolation -e ".[$extras]"
if [ "$constraints" = constraints.txt ]; then
    torch_version > "$venv/.torch"
fi
touch "$stamp"
