"""What a reader sees of an evaluation."""

from passion_components.reports.tables import subset_table_markdown

__all__ = ["subset_table_markdown"]
