"""Drawings: marks on a plane, their palette, and the SVG that is written of them."""
