"""Runs the stages in order, keeps the ledger of published numbers, writes the report."""
