"""What every bundle of this project must not be trusted with; said in cards and reports alike."""

KNOWN_LIMITS = (
    "Public sets tell scanner and label apart together: figures inside one collection flatter, "
    "also when patients are kept whole. On other scanners and patients expect less.",
    "`ct_tumor` of the multimodal set is partly hemorrhage. A \"tumor\" on CT means a visible "
    "abnormality of that kind.",
    "One slice is judged at a time; a tumor outside the slice cannot be seen.",
    "Children, postoperative heads, metastases, abscesses and other lesions were not labeled as "
    "such.",
    "Metastases and rarer tumors are forced into the three types, or left undetermined.",
)  # fmt: skip
NOT_FOR = "Decide about a patient, exclude a tumor, prioritize a worklist, or rate a reader."
