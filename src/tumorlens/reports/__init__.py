"""Stage 5: records become pages people read."""
