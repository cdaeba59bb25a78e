"""What answers others: the store, HTTP, DICOM node, Lambda handler, dashboard."""
