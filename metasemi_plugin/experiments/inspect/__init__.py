"""Looks into trained nets."""
