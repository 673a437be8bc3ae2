"""One trial, from rows to scores: prepare, train, decode, score."""
