"""Intervals and rates that every stage of the study shares."""
