"""What scripts/benchmark.py measures, one concern a file."""
