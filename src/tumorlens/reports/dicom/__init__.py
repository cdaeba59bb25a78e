"""Answers about a series as DICOM objects, which go back to where the series came from."""

DEFAULT_KINDS = ("sr", "pm", "sc", "ko")
KINDS = (*DEFAULT_KINDS, "seg")
