"""The checks of a comparison."""
