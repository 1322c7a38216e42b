"""Tests for semilearn's repository: each fails without its fix there. Not run from here."""
