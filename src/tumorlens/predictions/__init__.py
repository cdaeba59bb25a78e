"""Stage 4: raw outputs become a Prediction."""
