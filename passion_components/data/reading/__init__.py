"""Reading images of every accepted format, with their place in space."""
