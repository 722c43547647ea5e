"""Drawings: results as marks on a plane, with no word on the medium."""
