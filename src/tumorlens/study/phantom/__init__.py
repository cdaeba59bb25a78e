"""Seeded synthetic head slices (CT and MRI), so that demo and tests need no scan of anybody."""

from tumorlens.study.phantom.drawing import (
    CLASSES,
    FINDINGS,
    PLANES,
    Phantom,
    draw_phantom,
    write_phantoms,
)

__all__ = ["CLASSES", "FINDINGS", "PLANES", "Phantom", "draw_phantom", "write_phantoms"]
