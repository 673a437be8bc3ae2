"""How fast the harness is on this machine: ``make bench``, or ``python -m tests.bench SECTION ...``; nothing is asserted."""
