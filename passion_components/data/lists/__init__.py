"""Datalists: made from what layouts find, read, split, thinned out."""
