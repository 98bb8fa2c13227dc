"""What an IPython session of a beamline is made of: settings, the catalog's writer, windows, the start-up files."""

from saxs_bluesky.session._profile import copy_profile
from saxs_bluesky.session._settings import SETTINGS_FILE, BeamlineSettings, load_settings
from saxs_bluesky.session._windows import LiveWindows, show_where_possible
from saxs_bluesky.session._writer import open_writer

__all__ = [
    "SETTINGS_FILE",
    "BeamlineSettings",
    "LiveWindows",
    "copy_profile",
    "load_settings",
    "open_writer",
    "show_where_possible",
]
