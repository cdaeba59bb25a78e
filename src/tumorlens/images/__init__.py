"""Stage 1: a file or bytes become a Scan."""
