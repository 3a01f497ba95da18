"""Flying the policy needs NumPy and safetensors; torch, h5py and onnx stay away until they are asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "h5py", "onnx", "onnxruntime", "scipy", "matplotlib", "foundation_policy")


def test_controller_and_exporters_import_nothing_heavy():
    code = (
        "import sys, controllers.foundation, control_stack.foundation.export\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_the_product_never_imports_the_peer():
    for room in ("control_stack", "controllers", "sim"):
        for source in (ROOT / room).rglob("*.py"):
            assert "import foundation_policy" not in source.read_text(encoding="utf-8"), source
