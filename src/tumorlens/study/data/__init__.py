"""Labeled folders and public sets as cases, their splits and masks."""
