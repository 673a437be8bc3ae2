"""Finished work on disk: whole or not at all, and still what was written."""
