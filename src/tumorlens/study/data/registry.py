"""One row per public data set: where it is, what it may be used for, how it is labeled."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Archive:
    """A file to download; what its publisher does not state is None."""

    name: str  # in the cache, and in a mirror
    url: str
    checksum: str | None = None  # "md5:<hex>" or "sha256:<hex>"
    size: int | None = None  # bytes


@dataclass(frozen=True)
class Rule:
    """Images whose path in the archive matches get a label, or are left out for a reason."""

    pattern: str  # of the lower-case path with "/" before it; * matches "/" too
    label: str | None  # a row of labels.LABELS; None: left out
    split: str | None = None
    why: str = ""  # left out


@dataclass(frozen=True)
class LabelTable:
    """A CSV in the archive that names images without their suffix, and their classes."""

    file: str  # its name in lower case, in any folder
    image: str  # column
    label: str  # column
    classes: Mapping[str, str]  # values of that column -> rows of labels.LABELS


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
    archives: tuple[Archive, ...] = ()
    arrangement: str = "rules"  # a row of arrange.ARRANGERS: how archives become cases
    rules: tuple[Rule, ...] = ()  # the first that matches counts
    table: LabelTable | None = None


_NOT_STATED = "none stated by the mirror; redistribution is not established"
_NOT_ESTABLISHED = "not established here; read the page of the set before use"


def _kaggle(owner: str, slug: str) -> tuple[Archive, ...]:
    # Public sets are sent without an account. No checksums are published.
    return (
        Archive(f"{slug}.zip", f"https://www.kaggle.com/api/v1/datasets/download/{owner}/{slug}"),
    )


def _figshare(number: int, first: int, last: int, *, md5: str, size: int) -> Archive:
    name = f"brainTumorDataPublic_{first}-{last}.zip"
    return Archive(name, f"https://ndownloader.figshare.com/files/{number}", f"md5:{md5}", size)


def _training_and_testing(labels: Iterable[tuple[str, str]]) -> tuple[Rule, ...]:
    parts = (("training", "train"), ("testing", "test"))
    return tuple(Rule(f"*/{folder}/{name}/*", label, split)
                 for folder, split in parts for name, label in labels)  # fmt: skip


DATASETS: Mapping[str, DatasetRow] = {
    row.name: row
    for row in (
        DatasetRow(
            name="multimodal",
            title="Brain tumor multimodal image (CT & MRI)",
            url="https://www.kaggle.com/datasets/murtozalikhon/brain-tumor-multimodal-image-ct-and-mri",
            license=_NOT_STATED,
            citation="M. Likhon, Brain tumor multimodal image (CT & MRI), Kaggle.",
            layout="split/class folders",
            modality=None,
            published_split="none in the archive; train/val/test folders, 70/15/15, drawn by "
            "image, in a system built on it",
            caution="About half are flipped, rotated or brightened copies; ct_tumor is partly "
            "hemorrhage and carries burned-in names.",
            archives=_kaggle("murtozalikhon", "brain-tumor-multimodal-image-ct-and-mri"),
            rules=(
                Rule("*/*ct scan images*/healthy/*", "ct_healthy"),
                Rule("*/*ct scan images*/tumor/*", "ct_tumor"),
                Rule("*/*mri images*/healthy/*", "mri_healthy"),
                # One folder for all: the type stands in the name, as in "glioma (12).jpg".
                Rule("*/*mri images*/tumor/glioma*", "mri_glioma"),
                Rule("*/*mri images*/tumor/meningioma*", "mri_meningioma"),
                Rule("*/*mri images*/tumor/pituitary*", "mri_pituitary"),
                Rule("*/*mri images*/tumor/tumor*", "mri_tumor"),
            ),
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
            archives=_kaggle("navoneel", "brain-mri-images-for-brain-tumor-detection"),
            rules=(Rule("*/yes/*", "mri_tumor"), Rule("*/no/*", "mri_healthy")),
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
            caution="3,060 images are about 350 distinct images.",
            archives=_kaggle("ahmedhamada0", "brain-tumor-detection"),
            rules=(
                Rule("*/br35h-mask-rcnn/*", None, why="copies of other images of the set"),
                Rule("*/pred/*", None, why="images without labels"),
                Rule("*/yes/*", "mri_tumor"),
                Rule("*/no/*", "mri_healthy"),
            ),
        ),
        DatasetRow(
            name="bohaju",
            title="Brain Tumor (slices of BraTS 2015 with first-order and texture features)",
            url="https://www.kaggle.com/datasets/jakeshbohaju/brain-tumor",
            license=_NOT_STATED,
            citation="J. Bohaju, Brain Tumor, Kaggle, 2020, doi:10.34740/kaggle/dsv/1370629.",
            layout="split/class folders",
            modality="mri",
            published_split="none in the archive; train/validation/test folders, 70/10/20, "
            "drawn by image, in a system built on it",
            caution="Slices of one patient stand in several parts; patients are not recorded.",
            archives=_kaggle("jakeshbohaju", "brain-tumor"),
            arrangement="table",
            table=LabelTable(
                file="brain tumor.csv",
                image="Image",
                label="Class",
                classes={"0": "mri_healthy", "1": "mri_tumor"},
            ),
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
            published_split="five folds by patient, in a file of their own that is not fetched",
            caution="Every slice holds a tumor: detection cannot be measured on it alone.",
            arrangement="slices",
            archives=(  # checksums and sizes as figshare states them
                _figshare(3381290, 1, 766, size=214401279, md5="74b949ad33f042e6e103523091cd1428"),
                _figshare(
                    3381296, 767, 1532, size=217848429, md5="7e8a875500d2c8a346f270538e29890e"
                ),
                _figshare(
                    3381293, 1533, 2298, size=215563856, md5="8227bf6080cb71f15a88be8d25c79ae7"
                ),
                _figshare(
                    3381302, 2299, 3064, size=231679762, md5="b378a80d6174e5317d59eb28430c6652"
                ),
            ),
        ),
        DatasetRow(
            name="nickparvar",
            title="Brain Tumor MRI Dataset (three types and no tumor)",
            url="https://www.kaggle.com/datasets/masoudnickparvar/brain-tumor-mri-dataset",
            license=_NOT_ESTABLISHED,
            citation="M. Nickparvar, Brain Tumor MRI Dataset, Kaggle, 2021, "
            "doi:10.34740/kaggle/dsv/2645886.",
            layout="split/class folders",
            modality="mri",
            published_split="Training/Testing folders; patients are not recorded",
            caution="Put together from figshare, Sartaj and Br35H: it overlaps with all three, so "
            "that none of them is an independent test of it. The class shows where an image is "
            "from. 7,023 images in the first version; later versions differ.",
            archives=_kaggle("masoudnickparvar", "brain-tumor-mri-dataset"),
            rules=_training_and_testing(
                (
                    ("glioma", "mri_glioma"),
                    ("meningioma", "mri_meningioma"),
                    ("notumor", "mri_healthy"),
                    ("pituitary", "mri_pituitary"),
                )
            ),
        ),
        DatasetRow(
            name="sartaj",
            title="Brain Tumor Classification (MRI)",
            url="https://www.kaggle.com/datasets/sartajbhuvaji/brain-tumor-classification-mri",
            license=_NOT_ESTABLISHED,
            citation="S. Bhuvaji et al., Brain Tumor Classification (MRI), Kaggle, 2020, "
            "doi:10.34740/kaggle/dsv/1183165.",
            layout="split/class folders",
            modality="mri",
            published_split="Training/Testing folders, 2,870/394; patients are not recorded",
            caution="Its glioma labels are disputed: the makers of a later set left them out as "
            "wrong. It shares images with nickparvar.",
            archives=_kaggle("sartajbhuvaji", "brain-tumor-classification-mri"),
            rules=_training_and_testing(
                (
                    ("glioma_tumor", "mri_glioma"),
                    ("meningioma_tumor", "mri_meningioma"),
                    ("no_tumor", "mri_healthy"),
                    ("pituitary_tumor", "mri_pituitary"),
                )
            ),
        ),
    )
}
