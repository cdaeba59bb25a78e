"""Facts about the errors a user can meet."""

import inspect
import pickle
from pathlib import Path

import pytest

from tumorlens import errors
from tumorlens.errors import ImageError, TumorlensError

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)
         if issubclass(kind, TumorlensError)]  # fmt: skip
OF_ONE_SCAN = {"ImageError", "UnreadableImageError", "ImageTooLargeError", "ImageTooSmallError",
               "BlankImageError", "InvalidPixelsError", "MissingReaderError"}  # fmt: skip


def test_a_message_reads_subject_fact_fix():
    error = TumorlensError(Path("a/b.png"), "is empty", "Export it again.")
    assert str(error) == "a/b.png: is empty. Export it again."


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_survives_the_way_between_processes(kind):
    error = pickle.loads(pickle.dumps(kind("x.png", "is odd", "Mend it.")))
    assert type(error) is kind
    assert (error.subject, error.fact, error.fix) == ("x.png", "is odd", "Mend it.")
    assert str(error) == "x.png: is odd. Mend it."


def test_exactly_the_errors_of_one_scan_are_image_errors():
    assert {kind.__name__ for kind in KINDS if issubclass(kind, ImageError)} == OF_ONE_SCAN


def test_every_error_is_one_that_the_command_line_catches():
    foreign = [
        kind.__name__
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, Exception) and not issubclass(kind, TumorlensError)
    ]
    assert foreign == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_says_what_it_stands_for(kind):
    assert inspect.getdoc(kind)
    assert "__doc__" in vars(kind)
