"""Live reduction of small-angle X-ray scattering images, as a Bluesky plugin suite."""

from importlib.metadata import version

__version__ = version("saxs-bluesky")
