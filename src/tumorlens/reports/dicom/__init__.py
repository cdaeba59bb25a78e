"""Answers about a series as DICOM objects, which go back to where the series came from."""
