"""DICOM over the network: what comes in, and what goes back."""
