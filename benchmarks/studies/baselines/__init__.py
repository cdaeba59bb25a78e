"""The earlier systems again, by their own protocols and by ours, on the same images."""
