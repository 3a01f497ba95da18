"""Puts the policies and demonstrations of finished studies into the package: python scripts/ship_imitation.py DIR ...

DIR: of control-stack train imitation, in the clone with .venv activated. Both files of a study are read and checked
first; control-stack bench lipschitz then scores them, and control-stack train imitation --demonstrations can use them.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from control_stack.errors import ControlStackError, InvalidInput  # noqa: E402
from control_stack.learning.imitation import demonstrations, policy_file  # noqa: E402

MODELS = ROOT / "control_stack" / "learning" / "models"


def ship(folder: Path, models: Path = MODELS) -> list[Path]:
    """Copies a study's files with their cards; returns where they are.

    Raises:
        InvalidInput: The study is not finished, or a file is not what its card says.
    """
    claim = folder / "fit.json"
    if not claim.is_file() or not (folder / "summary.json").is_file():
        raise InvalidInput(f"{folder} holds no finished study of control-stack train imitation")
    name = json.loads(claim.read_text(encoding="utf-8"))["task"]
    policy_file.load(folder / "policies.safetensors", name)
    demonstrations.load(folder / "demonstrations.safetensors", name)
    shipped = []
    for what in ("policies", "demonstrations"):
        for ending in (".json", ".safetensors"):
            shipped.append(models / f"imitation-{name}-{what}{ending}")
            shutil.copyfile(folder / f"{what}{ending}", shipped[-1])
    return shipped


def main(arguments: Sequence[str] | None = None) -> int:
    """Ships every study that is named."""
    folders = sys.argv[1:] if arguments is None else arguments
    if not folders:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        for folder in folders:
            print("\n".join(str(path.relative_to(ROOT)) for path in ship(Path(folder))))
    except ControlStackError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
