"""Networks that segment from any subset of modalities."""
