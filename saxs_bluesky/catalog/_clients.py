"""Client objects of Tiled that do not share what they change."""

from __future__ import annotations

from functools import partial
from typing import Any

SPEC = {"name": "CatalogOfBlueskyRuns", "version": "3.0"}


def clients() -> Any:
    """A table of client classes of its own."""
    from tiled.client.container import DEFAULT_STRUCTURE_CLIENT_DISPATCH, Container
    from tiled.utils import OneShotCachedMap

    if Container.STRUCTURE_CLIENTS_FROM_ENTRYPOINTS is None:
        Container.discover_clients_from_entrypoints()
    shared = DEFAULT_STRUCTURE_CLIENT_DISPATCH["numpy"]
    return OneShotCachedMap({key: partial(shared.__getitem__, key) for key in shared})


def with_own_v1(catalog: Any) -> Any:
    """The catalog, which stays as it is when ``catalog.v1`` is used.

    In bluesky-tiled-plugins 2.0 ``v1`` changes the table of client classes that it shares with the catalog, so that
    from then on all runs come in their old form.
    """
    other = type(catalog)(catalog.context, item=catalog.item, structure_clients=clients())
    catalog._v1 = other.v1  # noqa: SLF001 - there is no other way in
    return catalog
