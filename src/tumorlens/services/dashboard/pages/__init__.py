"""One thin module for each page: where things stand, never what they are."""
