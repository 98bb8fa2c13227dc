"""Ophyd devices: detectors and loggers, real and simulated."""
