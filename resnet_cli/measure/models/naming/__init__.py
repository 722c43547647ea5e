"""What the name of a network means, and where it leads."""
