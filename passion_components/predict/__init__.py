"""Segmenting scans with a bundle that is read as data: none of its configs is evaluated."""
