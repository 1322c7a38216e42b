"""Suites of runs: from a list of configurations to records, and from records to tables."""
