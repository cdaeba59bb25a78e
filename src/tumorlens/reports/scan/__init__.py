"""The report of a scan, as HTML and PDF."""
