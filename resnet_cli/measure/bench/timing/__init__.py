"""Times of a call: warm-up, samples, the device's own time, and two networks in turn."""
