"""Measurements: model in, result out. Nothing here prints."""
