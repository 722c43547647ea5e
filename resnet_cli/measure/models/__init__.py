"""The network under test: loading it, copying it, running it, and explaining why it does not run."""
