"""Bluesky callbacks: consumers of documents."""
