"""What knows nothing of models: slots and choices, digests, code fingerprints, names, signals, provenance."""
