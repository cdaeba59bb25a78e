"""Public data sets: one registry row each, downloaded, verified, arranged."""
