"""Labeled slices of many patients, as files with a table, for tests of whole series."""

from pathlib import Path

import numpy as np
from PIL import Image

from tumorlens.files import write_table
from tumorlens.study.phantom import draw_phantom

SLICES = 6


def write_patients(folder: Path, *, patients: int = 22, side: int = 96) -> Path:
    """Write SLICES slices of each patient, every second with a tumor in two of them."""
    rng = np.random.default_rng(5)
    kinds = {True: "mri_glioma", False: "mri_healthy"}
    drawn = {
        ill: draw_phantom("mri", name.split("_")[1], seed=3, plane="axial", side=side).pixels
        for ill, name in kinds.items()
    }
    rows = []
    for number in range(patients):
        for k in range(SLICES):
            is_ill = number % 2 == 0 and k in (2, 3)
            name = f"p{number:02d}_{k:02d}_flair.png"
            noise = rng.normal(0, 3, (side, side)) * (drawn[is_ill] > 0)
            pixels = np.clip(drawn[is_ill] + noise, 0, 255).astype(np.uint8)
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / name)
            part = ("train", "val")[number // 2 % 2] if number < 20 else "test"
            rows.append((name, kinds[is_ill], f"p{number:02d}", part))
    write_table(folder / "cases.csv", ("path", "label", "patient", "split"), rows)
    return folder
