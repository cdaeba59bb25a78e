"""What a network does with what it never saw: sources, scanners with both labels, no heads."""
