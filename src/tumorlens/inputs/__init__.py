"""Stage 2: a Scan becomes what the network is given, by one function for every use."""
