"""A Predictor behind a door: the store, the HTTP service, the Lambda handler, the dashboard."""
