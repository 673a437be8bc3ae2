"""The ground that everything stands on: slots and choices, digests, code fingerprints, names, signals, provenance."""
