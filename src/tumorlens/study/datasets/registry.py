"""One row per public data set: where it is, what it may be used for, how it is labelled."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class DatasetRow:
    """What is known of a public data set before a file of it is read."""

    name: str  # also the usual name of its folder
    title: str
    url: str
    license: str
    citation: str
    layout: str  # "class folders" | "split/class folders" | "cases.csv"
    modality: str | None  # where the whole set has one
    published_split: str  # how the set, or a system built on it, published its split
    caution: str
    labels: Mapping[str, str] = field(default_factory=dict)  # names particular to this set


_NOT_STATED = "none stated by the mirror; redistribution is not established"

DATASETS: Mapping[str, DatasetRow] = {
    row.name: row
    for row in (
        DatasetRow(
            name="multimodal",
            title="Brain tumor multimodal image (CT & MRI)",
            url="https://www.kaggle.com/datasets/murtozalikhon/brain-tumor-multimodal-image-ct-and-mri",
            license=_NOT_STATED,
            citation="M. Khon, Brain tumor multimodal image (CT & MRI), Kaggle.",
            layout="split/class folders",
            modality=None,
            published_split="train/val/test folders, 70/15/15, drawn by image",
            caution="About half are flipped, rotated or brightened copies; ct_tumor is partly "
            "hemorrhage and carries burned-in names.",
        ),
        DatasetRow(
            name="navoneel",
            title="Brain MRI Images for Brain Tumor Detection",
            url="https://www.kaggle.com/datasets/navoneel/brain-mri-images-for-brain-tumor-detection",
            license=_NOT_STATED,
            citation="N. Chakrabarty, Brain MRI Images for Brain Tumor Detection, Kaggle, 2019.",
            layout="class folders",
            modality="mri",
            published_split="none",
            caution="253 images, nearly all of them also in Br35H.",
        ),
        DatasetRow(
            name="br35h",
            title="Br35H: Brain Tumor Detection 2020",
            url="https://www.kaggle.com/datasets/ahmedhamada0/brain-tumor-detection",
            license=_NOT_STATED,
            citation="A. Hamada, Br35H: Brain Tumor Detection 2020, Kaggle.",
            layout="class folders",
            modality="mri",
            published_split="none; pred/ has no labels",
            caution="3,060 images are about 576 distinct pictures.",
        ),
        DatasetRow(
            name="bohaju",
            title="Brain Tumor (slices of BraTS 2015 with first-order and texture features)",
            url="https://www.kaggle.com/datasets/jakeshbohaju/brain-tumor",
            license=_NOT_STATED,
            citation="J. Bohaju, Brain Tumor, Kaggle, 2020, doi:10.34740/kaggle/dsv/1370629.",
            layout="split/class folders",
            modality="mri",
            published_split="train/validation/test folders, 70/10/20, drawn by image",
            caution="Slices of one patient stand in several parts; patients are not recorded.",
        ),
        DatasetRow(
            name="figshare",
            title="Brain tumor dataset (T1 with contrast, three types, masks)",
            url="https://figshare.com/articles/dataset/brain_tumor_dataset/1512427",
            license="CC BY 4.0",
            citation="J. Cheng et al., PLoS ONE 10(10): e0140381, 2015, "
            "doi:10.1371/journal.pone.0140381.",
            layout="cases.csv",
            modality="mri",
            published_split="five folds by patient",
            caution="Every slice holds a tumor: detection cannot be measured on it alone.",
        ),
    )
}
