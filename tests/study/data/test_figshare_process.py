"""Slices are read in a process with limits, which is replaced when a file ends it."""

import numpy as np
import pytest
from support.public_sets import mat_bytes

from tumorlens.errors import UnreadableImageError
from tumorlens.study.data.datasets import figshare
from tumorlens.study.data.datasets.figshare import SliceReader, read_slice

TALL = np.arange(20 * 32, dtype=np.int16).reshape(32, 20) * 50


def test_a_slice_is_the_same_as_in_this_process_and_a_bad_file_ends_nothing():
    good = mat_bytes(TALL)
    with SliceReader() as reader:
        found, again = reader.read(good, source="1.mat"), None
        with pytest.raises(UnreadableImageError, match=r"2\.mat.*is not a whole slice"):
            reader.read(b"not HDF5", source="2.mat")
        child = reader._child._child
        again = reader.read(good, source="1.mat")
        assert reader._child._child is child
    expected = read_slice(good, source="1.mat")
    for one in (found, again):
        assert (one.label, one.patient) == (expected.label, expected.patient)
        assert np.array_equal(one.pixels, expected.pixels)
        assert np.array_equal(one.mask, expected.mask)
    assert child is not None
    assert child.poll() is not None


def test_a_file_that_takes_too_long_is_refused_and_the_next_is_read():
    with SliceReader(seconds=0.0) as reader:
        with pytest.raises(UnreadableImageError, match=r"1\.mat: ended the process .* too long"):
            reader.read(mat_bytes(TALL), source="1.mat")
        reader._seconds = 60.0
        assert reader.read(mat_bytes(TALL), source="2.mat").pixels.shape == TALL.shape


@pytest.mark.parametrize("head", [{}, {"shape": [2, 2]}, {"shape": "x", "error": "OSError"}])
def test_nonsense_from_the_process_is_no_slice(head: dict):
    with pytest.raises(UnreadableImageError, match="nonsense"):
        figshare._slice_of(head, b"", "1.mat")
