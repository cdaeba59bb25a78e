"""A million files: planned as shards, run anywhere, each scan answered exactly once."""
