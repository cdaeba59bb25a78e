"""The viewer of slices: one canvas in plain JavaScript, in reports and on the page alike."""
