"""Finished work on disk: a stage is there whole, or not at all."""
