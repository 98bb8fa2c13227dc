"""Settings: a simulated beamline unless beamline.toml or SAXS_... variables say otherwise."""

from saxs_bluesky.session import load_settings

settings = load_settings()
