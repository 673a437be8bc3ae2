"""Answers as pages, tables and figures."""
