"""Lagrangian networks with a context: models of arms that change with what they carry."""

from __future__ import annotations

from pathlib import Path

from control_stack.artefacts import tensors as artefact
from control_stack.learning.lagrangian.model import LagrangianDynamics

MODEL = "model.safetensors"  # in the folder of a fit


def model_file(path: str | Path) -> Path:
    """Where a model lies: in the folder of a fit, or the .safetensors file itself."""
    path = Path(path)
    return path / MODEL if path.is_dir() else path


def load(path: str | Path) -> LagrangianDynamics:
    """The model of a fit: its folder, or a .safetensors file. Raises InvalidInput."""
    return LagrangianDynamics.load(model_file(path))


def structure_of(path: str | Path) -> str:
    """What a model's card calls its structure. Raises InvalidInput: no card."""
    return str(artefact.read_card(model_file(path)).get("structure"))
