"""Charts of what was measured, for the pages that `tumorlens explore` writes and the dashboard."""
