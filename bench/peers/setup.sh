#!/usr/bin/env bash
# Makes the Python environment that deltafit is measured against and exchanges adapters with: PyTorch,
# transformers, PEFT and bitsandbytes. Nothing of deltafit itself needs it.
#
#   DELTAFIT_PEERS         folder of the virtual environment; default: .peers/ under the repository's root
#   DELTAFIT_PEERS_PYTHON  an interpreter that already has the packages: it is checked, and nothing is installed
#   PYTHON                 the interpreter that makes the virtual environment; default: python3
#
# Takes about 6 GB and two minutes. Run again, it brings the packages to their newest versions.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
packages=(torch transformers peft safetensors accelerate bitsandbytes)

if [[ -n ${DELTAFIT_PEERS_PYTHON:-} ]]; then
  python=$DELTAFIT_PEERS_PYTHON
  if ! command -v "$python" >/dev/null; then
    echo "error: DELTAFIT_PEERS_PYTHON is '$python', which is no executable file." >&2
    echo "hint: name a Python 3 interpreter, or unset the variable to have an environment made." >&2
    exit 2
  fi
else
  folder=${DELTAFIT_PEERS:-$root/.peers}
  python=$folder/bin/python
  [[ -x $python ]] || "${PYTHON:-python3}" -m venv "$folder"
  "$python" -m pip install --quiet --disable-pip-version-check --upgrade "${packages[@]}" >&2
fi

"$python" - "${packages[@]}" <<'PY'
import platform
import sys
from importlib import metadata

missing = []
print(f"python {platform.python_version()} ({sys.executable})")
for package in sys.argv[1:]:
    try:
        print(f"{package} {metadata.version(package)}")
    except metadata.PackageNotFoundError:
        missing.append(package)
if missing:
    print(f"error: {sys.executable} lacks {', '.join(missing)}.", file=sys.stderr)
    print(f"hint: {sys.executable} -m pip install {' '.join(missing)}", file=sys.stderr)
    sys.exit(1)
PY
