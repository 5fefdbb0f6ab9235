"""What a researcher does: run, sweep, analyse, report, calibrate, validate, watch."""
