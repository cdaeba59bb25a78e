"""Draw the pictures of the documentation that show training, from phantoms alone.

Run `python docs/make_training_pictures.py`; the same code gives the same files.
"""

import matplotlib.pyplot as plt
import numpy as np
from make_pictures import NOTE, PICTURES, open_grid, save, show
from matplotlib.figure import Figure

from tumorlens.inputs.prepare import InputSpec, carry_mask, prepare
from tumorlens.records import Scan
from tumorlens.study.phantom import draw_phantom
from tumorlens.study.phantom.out_of_distribution import KINDS, draw_ood_image
from tumorlens.study.training.data.counterfactuals import (
    SYNTHETIC,
    Counterfactual,
    MaskedScan,
    crop,
    graft,
    paint_lesion,
    paint_no_mass,
    reflect_half,
    reflect_spot,
    shrink,
)
from tumorlens.study.training.data.ct_lesions import (
    MASS,
    NO_MASSES,
    find_brain,
    paint_finding,
)
from tumorlens.study.training.data.midline_symmetry import find_midline

SIDE = 160
VISIBLE = 40  # of 255


def main() -> None:
    """Draw all pictures."""
    for name, draw in (
        ("counterfactuals", draw_counterfactuals),
        ("ct-findings", draw_ct_findings),
        ("out-of-distribution", draw_ood_images),
    ):
        figure = draw()
        figure.text(0.5, 0.004, NOTE, ha="center", va="bottom", fontsize=7, color="0.4")
        save(figure, PICTURES / f"{name}.png")
        plt.close(figure)


def draw_counterfactuals() -> Figure:
    """Show a head with and one without a tumor, and what each becomes."""
    tumor, other = _marked("meningioma", seed=7), _marked("glioma", seed=21)
    healthy = _marked("healthy", seed=33)
    rows = (
        (("a tumor", Counterfactual(tumor.image, tumor.mask)),
         ("half reflected", _first(lambda rng: reflect_half(tumor, rng), gone=True)),
         ("spot reflected", _first(lambda rng: reflect_spot(tumor, rng), gone=True)),
         ("cropped", _first(lambda rng: crop(tumor, rng), gone=True)),
         ("tissue grafted", _first(lambda rng: graft(tumor, other, rng), gone=True)),
         ("changed, tumor stays", _first(lambda rng: reflect_spot(tumor, rng), gone=False)),
         ("painted over", _first(lambda rng: _mass(tumor, None, rng), gone=False)),
         ("no mass painted", _first(lambda rng: paint_no_mass(tumor, other, rng), gone=False)),
         ("shrunk", _first(lambda rng: shrink(tumor, rng), gone=False))),
        (("healthy", Counterfactual(healthy.image, healthy.mask)),
         ("half reflected", _first(lambda rng: reflect_half(healthy, rng), gone=True)),
         ("spot reflected", _first(lambda rng: reflect_spot(healthy, rng), gone=True)),
         ("cropped", _first(lambda rng: crop(healthy, rng), gone=True)),
         ("tissue grafted", _first(lambda rng: graft(healthy, other, rng), gone=True)),
         ("tumor grafted", _first(lambda rng: graft(healthy, other, rng), gone=False)),
         ("mass painted", _first(lambda rng: _mass(healthy, other, rng), gone=False)),
         ("no mass painted", _first(lambda rng: paint_no_mass(healthy, other, rng), gone=True)),
         ("shrunk", _first(lambda rng: shrink(healthy, rng), gone=True))),
    )  # fmt: skip
    figure, places = open_grid(2, 9, size=(13.5, 3.6))
    for axes, row in zip(places, rows, strict=True):
        for place, (title, made) in zip(axes, row, strict=True):
            show(place, made.image, title)
            if made.mask.any():
                place.contour(made.mask, [0.5], colors="#ffb000", linewidths=1.0)
    return figure


def draw_ct_findings() -> Figure:
    """Show a CT head without a tumor, and what is painted into it."""
    findings = (MASS, *NO_MASSES)
    figure, places = open_grid(2, len(findings) + 1, size=(9.4, 3.6))
    for row, axes in enumerate(places):
        phantom = draw_phantom("ct", "healthy", seed=33 + row, plane="axial", side=SIDE)
        scan = Scan(phantom.pixels.astype(np.float32), "phantom")
        head = prepare(scan, InputSpec(side=SIDE)).pixels
        show(axes[0], head, "healthy" if row == 0 else "")
        for place, finding in zip(axes[1:], findings, strict=True):
            rng = np.random.default_rng(row)
            painted, mass = paint_finding(head, find_brain(head), finding, rng)
            show(place, painted, finding if row == 0 else "")
            if mass.any():
                place.contour(mass, [0.5], colors="#ffb000", linewidths=1.0)
    return figure


def draw_ood_images() -> Figure:
    """Show two of each kind of what is no head."""
    figure, rows = open_grid(2, len(KINDS), size=(9.4, 3.1))
    for column, kind in enumerate(KINDS):
        for row in rows[:, column]:
            number = 1 if row is rows[0, column] else 2
            show(row, _of_kind(kind, number), kind if number == 1 else "")
    return figure


def _of_kind(kind: str, number: int) -> np.ndarray:
    """Draw the number-th image of a kind among the first seeds."""
    kinds = list(KINDS)
    seeds = [s for s in range(200) if str(np.random.default_rng(s).choice(kinds)) == kind]
    return draw_ood_image(seeds[number])


def _marked(finding: str, *, seed: int) -> MaskedScan:
    phantom = draw_phantom("mri", finding, seed=seed, plane="axial", side=SIDE)
    prepared = prepare(Scan(phantom.pixels.astype(np.float32), "phantom"), InputSpec(side=SIDE))
    mask = carry_mask(phantom.mask, prepared)
    return MaskedScan(prepared.pixels, mask, find_midline(prepared.pixels))


def _mass(
    scan: MaskedScan, donor: MaskedScan | None, rng: np.random.Generator
) -> Counterfactual | None:
    """Paint a mass that shows at the size of the picture."""
    made = paint_lesion(scan, donor, rng)
    if made is None or made.tumor != SYNTHETIC:
        return None
    contrast = float(made.image[made.mask].mean()) - float(scan.image[made.mask].mean())
    return made if abs(contrast) > VISIBLE else None


def _first(make, *, gone: bool) -> Counterfactual:
    """Return the first change, by seed, that leaves a tumor or none."""
    for seed in range(500):
        made = make(np.random.default_rng(seed))
        if made is not None and made.mask.any() != gone:
            return made
    raise ValueError("no such change among the first seeds")


if __name__ == "__main__":
    main()
