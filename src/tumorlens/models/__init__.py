"""Stage 3: network input becomes raw outputs, from a verified bundle."""
