"""The audit against brute force, on models trained from different seeds: `python -m analyses.calibration.trained`."""
