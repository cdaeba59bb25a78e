"""How a database becomes what `tables` says, step by step."""
