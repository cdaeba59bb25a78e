"""The statistics of every stage of the study: intervals, rates, areas, calibration."""
