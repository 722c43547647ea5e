"""Several results on one HTML page."""
