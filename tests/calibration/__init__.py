"""How often the statistics are wrong, measured: ``python -m tests.calibration`` writes results/calibration."""
