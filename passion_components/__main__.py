"""``python -m passion_components`` is ``passion``, for launchers that start modules."""

from passion_components.cli import main

if __name__ == "__main__":
    main()
