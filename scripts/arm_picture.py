"""Writes docs/arm.png: the shipped arms as the simulator has them, the first with a load."""

from __future__ import annotations

from pathlib import Path

from control_stack.arm.library import load_arm
from control_stack.arm.load import NO_LOAD, Load
from sim.arm.bullet import BulletArm
from sim.arm.picture import arms_picture

SHOWN = (
    ("panda with 3 kg", "panda", Load.box(3.0, (0.14, 0.14, 0.14), (0.05, 0.0, 0.1))),
    ("iiwa", "iiwa", NO_LOAD),
    ("planar", "planar", NO_LOAD),
)


def main() -> None:
    """Draws them all."""
    images = []
    for title, name, load in SHOWN:
        arm = BulletArm(load_arm(name))
        arm.connect()
        arm.attach(load)
        images.append((title, arm.picture()))
        arm.close()
    path = Path(__file__).resolve().parents[1] / "docs" / "arm.png"
    print(f"wrote {arms_picture(images, path).name}")


if __name__ == "__main__":
    main()
