"""The machine: it knows slots, never the kinds that fill them."""
