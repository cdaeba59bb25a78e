"""What a bundle does on scans it was not made from, with intervals."""
