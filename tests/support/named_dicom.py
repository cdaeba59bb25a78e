"""DICOM files full of what names a patient: in every attribute that there is, at any depth."""

import io
import struct
from typing import Any

from numpy.typing import NDArray
from pydicom import DataElement, Dataset
from pydicom.datadict import DicomDictionary, dictionary_VR, keyword_for_tag
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian
from support.dicom_files import slice_dataset

from tumorlens.images.deidentify_rules import KEPT, NUMBERS

MARK = "PLANTED"
UID_MARK = "1.2.777.31415926535.8979"
DAY, CLOCK = "19450731", "071123.456789"
_BINARY = struct.pack("<Q", 0x5EAF00D5EEDBEEF5)  # of no value that an image needs
_VALUES = {
    "UI": UID_MARK, "DA": DAY, "TM": CLOCK, "DT": f"{DAY}{CLOCK}", "AS": "077Y",
    "DS": "31415.9265", "IS": "271828182", "FD": 2.718281828e77, "FL": 3.25e33,
    "UL": 0x5EEDBEEF, "SL": 0x5EEDBEEF, "UV": 0x5EAF00D5EEDBEEF5, "SV": 0x5EAF00D5EEDBEEF5,
}  # fmt: skip
_TEXT = ("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT")
_OTHER = ("OB", "OD", "OF", "OL", "OV", "OW", "UN")
# Byte strings of which none may be left, however the values were written.
TRACES = (MARK.encode(), UID_MARK.encode(), DAY.encode(), CLOCK.encode(), b"077Y", _BINARY,
          b"31415.9265", b"271828182", struct.pack("<d", 2.718281828e77),
          struct.pack("<f", 3.25e33), struct.pack("<L", 0x5EEDBEEF))  # fmt: skip
_ENVELOPE = 0x00080005  # the meta header and the character set come with the file


def named_file(pixels: NDArray[Any]) -> bytes:
    """Return a whole file in which every attribute of the dictionary names somebody."""
    dataset = slice_dataset(pixels)
    inner, outer, shared, measures = (one_of_each_kind() for _ in range(4))
    outer.ReferencedStudySequence = [inner]
    measures.PixelSpacing = [0.5, 0.5]
    shared.PixelMeasuresSequence = [measures]
    for element in everything():
        if element.tag not in dataset:
            dataset.add(element)
    del dataset.ConversionType  # a file that has it is left out
    dataset.ReferencedStudySequence = [outer]
    dataset.SharedFunctionalGroupsSequence = [shared]
    _plant_privately(dataset, inner)
    return _written(dataset)


def everything() -> Dataset:
    """Return a data set with a value in each attribute that the dictionary knows."""
    dataset = Dataset()
    for number in DicomDictionary:
        tag, keyword = Tag(number), keyword_for_tag(number)
        if tag <= _ENVELOPE or tag.element == 0 or tag.group >= 0x7FE0 or not keyword:
            continue
        vr = dictionary_VR(tag).split(" or ")[0]
        if keyword in NUMBERS or vr in ("SQ", "AT", "US", "SS"):
            continue  # kept ones are numbers; two bytes are found in any image
        dataset.add(DataElement(tag, vr, _value(vr)))
    dataset[0x00280010] = RawDataElement(Tag(0x00280010), "LO", 8, b"PLANTED ", 0, False, True)
    return dataset


def one_of_each_kind() -> Dataset:
    """Return a data set with one attribute of each value representation, and each kept one."""
    found = everything()
    first = {element.VR: element.tag for element in reversed(list(found))}
    kept = {element.tag for element in found if element.keyword in KEPT}
    return Dataset({tag: found[tag] for tag in {*first.values(), *kept}})


def _value(vr: str) -> Any:
    if vr in _TEXT:
        return MARK
    return _BINARY if vr in _OTHER else _VALUES[vr]


def _plant_privately(dataset: Dataset, inner: Dataset) -> None:
    block = dataset.private_block(0x0029, MARK, create=True)
    block.add_new(0x10, "LO", MARK)
    block.add_new(0x11, "SQ", [inner])
    block.add_new(0x12, "UN", _BINARY)
    dataset.add_new(0x60000010, "US", 8)  # an overlay, with its label
    dataset.add_new(0x60003000, "OW", _BINARY)
    dataset.add_new(0x60001500, "LO", MARK)
    dataset.add_new(0xFFFCFFFC, "OB", MARK.encode() + b"\0")


def _written(dataset: Dataset) -> bytes:
    meta = dataset.file_meta
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.SourceApplicationEntityTitle = MARK
    meta.ImplementationVersionName = MARK
    meta.PrivateInformationCreatorUID, meta.PrivateInformation = UID_MARK, _BINARY
    dataset.preamble = MARK.encode().ljust(128, b"\0")
    dataset.PixelData += MARK.encode() + b"\0"  # behind the last pixel
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()
