"""One pass through a network, recorded operator by operator."""
