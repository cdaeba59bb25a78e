"""Small archives laid out as the public sets are, with phantoms in place of scans."""

import io
import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import cv2
import h5py
import numpy as np

from tumorlens.study.data.registry import DATASETS
from tumorlens.study.phantom import draw_phantom

CT, MRI = "Dataset/Brain Tumor CT scan Images", "Dataset/Brain Tumor MRI images"
BOHAJU_TABLE = "Image,Class,Mean\nImage1,0,6.5\nImage2,1,8.7\nImage9,1,8.7\n"

# Path in the archive -> (label, split); None: it is no case.
LAYOUTS: dict[str, dict[str, tuple[str, str | None] | None]] = {
    "multimodal": {
        f"{CT}/Healthy/ct_healthy (1).jpg": ("ct_healthy", None),
        f"{CT}/Healthy/ct_healthy (1).png": ("ct_healthy", None),
        f"{CT}/Tumor/ct_tumor (1).jpg": ("ct_tumor", None),
        f"{MRI}/Healthy/mri_healthy (1).jpg": ("mri_healthy", None),
        f"{MRI}/Tumor/glioma (1).jpg": ("mri_glioma", None),
        f"{MRI}/Tumor/meningioma (1).jpg": ("mri_meningioma", None),
        f"{MRI}/Tumor/pituitary (1).jpg": ("mri_pituitary", None),
        f"{MRI}/Tumor/tumor (1).jpeg": ("mri_tumor", None),
    },
    "navoneel": {
        "no/1 no.jpeg": ("mri_healthy", None),
        "yes/Y1.jpg": ("mri_tumor", None),
        "yes/Y10.JPG": ("mri_tumor", None),
        "brain_tumor_dataset/no/1 no.jpeg": None,
        "brain_tumor_dataset/yes/Y1.jpg": None,
        "brain_tumor_dataset/yes/Y10.JPG": None,
    },
    "br35h": {
        "no/no0.jpg": ("mri_healthy", None),
        "yes/y0.jpg": ("mri_tumor", None),
        "pred/pred0.jpg": None,
        "Br35H-Mask-RCNN/TRAIN/y700.jpg": None,
        "Br35H-Mask-RCNN/annotations_all.json": None,
    },
    "bohaju": {
        "Brain Tumor/Brain Tumor/Image1.jpg": ("mri_healthy", None),
        "Brain Tumor/Brain Tumor/Image2.jpg": ("mri_tumor", None),
        "Brain Tumor/Brain Tumor/Image3.jpg": None,
        "Brain Tumor.csv": None,
        "bt_dataset_t3.csv": None,
    },
    "figshare": {
        "1.mat": ("mri_meningioma", None),
        "900.mat": ("mri_glioma", None),
        "1600.mat": ("mri_pituitary", None),
        "3064.mat": ("mri_pituitary", None),
    },
    "nickparvar": {
        "Training/glioma/Tr-gl_0010.jpg": ("mri_glioma", "train"),
        "Training/meningioma/Tr-me_0010.jpg": ("mri_meningioma", "train"),
        "Training/notumor/Tr-no_0010.jpg": ("mri_healthy", "train"),
        "Training/pituitary/Tr-pi_0010.jpg": ("mri_pituitary", "train"),
        "Testing/glioma/Te-gl_0010.jpg": ("mri_glioma", "test"),
        "Testing/notumor/Te-no_0010.jpg": ("mri_healthy", "test"),
    },
    "sartaj": {
        "Training/glioma_tumor/gg (1).jpg": ("mri_glioma", "train"),
        "Training/meningioma_tumor/m (1).jpg": ("mri_meningioma", "train"),
        "Training/no_tumor/1.jpg": ("mri_healthy", "train"),
        "Training/pituitary_tumor/p (1).jpg": ("mri_pituitary", "train"),
        "Testing/glioma_tumor/image(1).jpg": ("mri_glioma", "test"),
        "Testing/no_tumor/image(1).jpg": ("mri_healthy", "test"),
    },
}
FIGSHARE_LABELS = {"mri_meningioma": 1, "mri_glioma": 2, "mri_pituitary": 3}


@cache
def phantom(side: int = 64) -> np.ndarray:
    return draw_phantom("mri", "glioma", seed=5, side=side).pixels


def picture_bytes(shift: int, *, suffix: str = ".png") -> bytes:
    """Encode a phantom; another shift gives other bytes."""
    return cv2.imencode(suffix, np.roll(phantom(), shift, axis=1))[1].tobytes()


def mat_bytes(
    image: np.ndarray | None = None,
    *,
    label: int = 2,
    patient: str = "MR017260F",
    mask: np.ndarray | None = None,
) -> bytes:
    """Write a slice as MATLAB 7.3 does: axes reversed, text as numbers, after 512 bytes."""
    image = phantom().astype(np.int16) * 30 if image is None else image
    mask = (image > np.median(image)).astype(np.uint8) if mask is None else mask
    memory = io.BytesIO()
    with h5py.File(memory, "w", userblock_size=512) as file:
        record = file.create_group("cjdata")
        record["label"] = np.array([[float(label)]])
        record["PID"] = np.array([[ord(character)] for character in patient], np.uint16)
        record["image"] = image.T
        record["tumorMask"] = mask.T
        record["tumorBorder"] = np.zeros((1, 8))
    memory.seek(0)
    memory.write(b"MATLAB 7.3 MAT-file".ljust(116))
    return memory.getvalue()


def content(name: str, path: str) -> bytes:
    """Give the bytes that stand under a path of LAYOUTS; nested copies are the same bytes."""
    if path.endswith(".mat"):
        place = LAYOUTS[name][path]
        return mat_bytes(label=FIGSHARE_LABELS[place[0] if place else "mri_glioma"])
    if path.endswith((".csv", ".json")):
        return (BOHAJU_TABLE if path == "Brain Tumor.csv" else "{}").encode()
    suffix = ".png" if path.lower().endswith(".png") else ".jpg"
    shift = list(LAYOUTS[name]).index(path.removeprefix("brain_tumor_dataset/"))
    return picture_bytes(shift, suffix=suffix)


def zip_bytes(files: Mapping[str, bytes]) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in files.items():
            archive.writestr(path, data)
    return memory.getvalue()


def write_archives(name: str, folder: Path) -> list[Path]:
    """Write the archives of a set under the names that the registry gives; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    archives = DATASETS[name].archives
    paths = list(LAYOUTS[name])
    written = []
    for number, archive in enumerate(archives):
        mine = paths if len(archives) == 1 else paths[number :: len(archives)]
        target = folder / archive.name
        target.write_bytes(zip_bytes({path: content(name, path) for path in mine}))
        written.append(target)
    return written
