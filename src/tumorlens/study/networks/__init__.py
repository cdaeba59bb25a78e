"""Networks as registry rows; each ends in global average pooling and one dense layer."""
