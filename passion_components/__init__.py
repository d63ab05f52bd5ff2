"""Components of the PASSION bundle collection: segmentation from any subset of MRI modalities."""

__version__ = "0.1.0"
