"""JSON schemas of the documents that users write, their defaults, and their validation.

Beside the standard keywords the schemas carry annotations for an editor:

``x-widget``
    What a field wants to be edited with: ``file`` (a file on this machine), ``remote-directory``
    or ``remote-file`` (a path below the server's base directory).
``x-display``
    How to show its content: ``mask-preview`` (the image that the file holds).
``x-unit``
    The unit of a number.
"""

from saxs_bluesky.schemas._defaults import default_document, fill_defaults
from saxs_bluesky.schemas._load import decode_json, load_schema, parse_json
from saxs_bluesky.schemas._validation import validate

__all__ = ["decode_json", "default_document", "fill_defaults", "load_schema", "parse_json", "validate"]
