"""Drawn patients: images and label maps made on the spot, in the layouts of the published data sets."""
