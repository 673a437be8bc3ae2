"""Finished work on disk: a stage is stored whole or not at all."""
