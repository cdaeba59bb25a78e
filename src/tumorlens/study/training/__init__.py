"""From cases with parts to a bundle: batches, the loop, calibration, export."""
