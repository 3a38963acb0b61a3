"""How often the audit is right, counted on models whose circuit is known: `python -m analyses.calibration`."""
