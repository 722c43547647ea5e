"""Kinds of device: a row in `registry` and a backend each, which is all that the rest asks about a device."""
