"""Helpers without physics and without Bluesky: addresses, locks, journals, output folders, the end of a program."""
