"""Public data sets as registry rows, and any labelled folder as a list of cases."""
