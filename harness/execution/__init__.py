"""Many trials at once: worker processes, a Ray cluster, memory, time limits and failures."""
