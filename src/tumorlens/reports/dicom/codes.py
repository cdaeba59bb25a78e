"""Every code in our DICOM objects, with where it is defined.

Codes of the schemes DCM, UCUM and LN, and of SNOMED CT those which the DICOM standard lists
itself: these may be used in DICOM objects without a SNOMED licence (PS3.16, chapter 8.1). Tumor
types are not among them: `TYPES` is used only where a user who has a licence asks for it.
"""

from pydicom.sr.coding import Code

from tumorlens.records import Decision, Modality, TumorType

NEOPLASM = Code("108369006", "SCT", "Neoplasm")  # PS3.16 CID 7159
BRAIN = Code("12738006", "SCT", "Brain")  # CID 4030
ABNORMAL = Code("49755003", "SCT", "Morphologically Abnormal Structure")  # CID 7150
PROBABILITY = Code("122157", "DCM", "Probability")  # PS3.16 annex D
CLASS_ACTIVATION = Code("130402", "DCM", "Class activation")  # CID 7180
NO_UNITS = Code("1", "UCUM", "no units")  # CID 7181
REPORT_TITLE = Code("126000", "DCM", "Imaging Measurement Report")  # CID 7021
KEY_OBJECT_TITLE = Code("113000", "DCM", "Of Interest")  # CID 7010
COMMENT = Code("121106", "DCM", "Comment")  # annex D
PRESENCE = Code("121052", "DCM", "Presence of property")  # annex D
DECISIONS: dict[Decision, Code] = {  # annex D; CID 3703
    "tumor": Code("121053", "DCM", "Present"),
    "no tumor": Code("121054", "DCM", "Absent"),
    "uncertain": Code("121059", "DCM", "Presence Undetermined"),
    "out of scope": Code("373121007", "SCT", "Not Evaluated"),
}
PROCEDURES: dict[Modality, Code] = {  # CID 100
    "ct": Code("25045-6", "LN", "CT unspecified body region"),
    "mri": Code("25056-3", "LN", "MRI unspecified body region"),
}
TYPE = Code("111023", "DCM", "Differential Diagnosis/Impression")  # annex D
TYPES: dict[TumorType, Code] = {  # SNOMED CT International, not listed by DICOM
    "glioma": Code("393564001", "SCT", "Glioma"),
    "meningioma": Code("302820008", "SCT", "Intracranial meningioma"),
    "pituitary": Code("254956000", "SCT", "Pituitary adenoma"),
}
SNOMED_LICENCE = (
    "SNOMED CT codes of tumor types need a licence of SNOMED International or of its member in "
    "your country (snomed.org/get-snomed)"
)
