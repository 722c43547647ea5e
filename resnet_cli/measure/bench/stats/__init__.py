"""Statistics of samples: confidence intervals, percentiles, ratios of two series."""
