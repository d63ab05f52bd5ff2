"""Finding cases: how folders, names and headers say which file is which sequence of which case."""
