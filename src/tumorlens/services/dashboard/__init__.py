"""Pages for readers of scans: drop in slices, see what the network says and why to doubt it."""
