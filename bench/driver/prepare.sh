# What both benchmarks prepare in bash; sourced, not run, in the repository's root, after `command_name` is set.
# shellcheck shell=bash

readonly venv=target/bench-venv
# OpenVINO is a peer for encoding and serving alone, and is left out where it does not install.
readonly openvino=openvino==2026.4.1

say() { echo "$command_name: $*" >&2; }
fail() { say "$*"; exit 1; }

# Sets `python` to a venv with the requirements in the files given, which is made, or brought up to them after they
# changed. Each file is installed apart: training does not need what serving does.
peer_python() {
  local file installed
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "python3 is older than 3.11, which the peers' packages need; name a newer one in MATRYO_BENCH_PYTHON"
  for file in "$@"; do
    installed=$venv/$(basename "$file")
    cmp -s "$file" "$installed" && continue
    say "installing what $file lists in $venv (with PyTorch some 6 GB)"
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv" || fail "python3 -m venv failed; Debian has it in python3-venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$file" ||
      fail "pip failed; it needs the package index; or name an interpreter with the packages in MATRYO_BENCH_PYTHON"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "$openvino" ||
      say "$openvino does not install here; it is left out"
    cp "$file" "$installed"
  done
  python=$PWD/$venv/bin/python
}

# Checks that `python`, started where the caller is, has the packages given.
check_packages() {
  (cd "$caller" && exec "$python" - "$@") <<'PYTHON' ||
import importlib.util, sys

sys.exit(not all(map(importlib.util.find_spec, sys.argv[1:])))
PYTHON
    fail "$python lacks one of: $*; bench/requirements*.txt list what is needed"
}

# Sets `binary` to the one in MATRYO_BENCH_BINARY, or builds it.
find_binary() {
  binary=${MATRYO_BENCH_BINARY:-}
  [ -z "$binary" ] || return 0
  command -v cargo >/dev/null || fail "cargo is needed to build matryo; or name a binary in MATRYO_BENCH_BINARY"
  say "building matryo"
  cargo build --release --quiet
  binary=$PWD/${CARGO_TARGET_DIR:-target}/release/matryo
}

# Sets `model` to the folder in MATRYO_TEST_MINILM, or to the one that tests/setup fetches.
find_model() {
  model=${MATRYO_TEST_MINILM:-}
  [ -z "$model" ] || return 0
  tests/setup
  model=$PWD/target/test-models/all-MiniLM-L6-v2
}
