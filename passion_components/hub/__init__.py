"""Bundles fetched, unpacked and found: nothing in them is run."""

from passion_components.hub.install import find_bundle

__all__ = ["find_bundle"]
