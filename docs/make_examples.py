"""Draw the phantoms that the dashboard shows before anybody has given it a scan.

Run it as `python docs/make_examples.py`; the same seed gives the same files.
"""

from pathlib import Path

import cv2

from tumorlens.study.phantom import CLASSES, draw_phantom

EXAMPLES = Path(__file__).parent.parent / "src/tumorlens/services/dashboard/examples"
SEED = 41_000  # of no phantom that the shipped bundle was trained on
SIDE = 256
PLANES = {
    "ct_healthy": "axial",
    "ct_tumor": "axial",
    "mri_healthy": "sagittal",
    "mri_glioma": "axial",
    "mri_meningioma": "coronal",
    "mri_pituitary": "sagittal",
}


def main() -> None:
    """Write one phantom of each class."""
    for number, label in enumerate(CLASSES):
        modality, finding = label.split("_")
        finding = "glioma" if finding == "tumor" else finding
        phantom = draw_phantom(
            modality, finding, seed=SEED + number, plane=PLANES[label], side=SIDE
        )
        path = EXAMPLES / f"phantom_{label}.png"
        path.write_bytes(cv2.imencode(".png", phantom.pixels)[1].tobytes())
        print(path.name)


if __name__ == "__main__":
    main()
