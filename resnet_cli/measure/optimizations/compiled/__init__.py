"""Networks whose kernels are generated, or recorded, ahead of the calls."""
