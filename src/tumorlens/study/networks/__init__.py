"""Networks as registry rows: prepared bytes in, logits of atoms out, and maps that explain."""
