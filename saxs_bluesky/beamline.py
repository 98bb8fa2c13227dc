"""The former place of `saxs_bluesky.session`: copies of the profile's start-up files import from here."""

from saxs_bluesky.support.former_names import former_names

_NAMES = ("BeamlineSettings", "LiveWindows", "copy_profile", "load_settings", "open_writer", "show_where_possible")
__getattr__ = former_names(__name__, {name: f"saxs_bluesky.session.{name}" for name in _NAMES})
