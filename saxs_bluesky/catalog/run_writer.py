"""One run into Tiled, in batches that the caller ends; of a run that is there in part, what is missing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from bluesky_tiled_plugins.writing.consolidators import consolidator_factory
from bluesky_tiled_plugins.writing.tiled_writer import RunNormalizer, _RunWriter
from event_model import DocumentNames, schema_validators

from saxs_bluesky.catalog._arrays import drop_beside
from saxs_bluesky.catalog._stream_writer import StreamWriter
from saxs_bluesky.catalog.tables import drop_replacement, find_child, source_of

#: Told of a value that is left out: stream, key, number of the event, value, reason.
LeftOut = Callable[[str, str, int, Any, str], None]

_MOST_NOTES = 50  # of a run


def _pass_over(stream: str, key: str, number: int, value: Any, reason: str) -> None:
    """Tell nobody."""


# TiledWriter writes when it has counted so many events, or at the stop: either every event costs a tenth of a
# second, or nothing shows for minutes. It has no flush, it cannot go on with a run that is there in part, and what it
# keeps for later is private, so this class depends on bluesky-tiled-plugins 2.0 (pyproject.toml holds it below 2.1;
# tests/callbacks/catalog_writer/test_catalog_writer.py fails if the names move).
class RunWriter(_RunWriter):  # type: ignore[misc] # the library has no types
    """Writes the documents of one run, which must have passed a `RunNormalizer`, when told to flush.

    It gets all documents of the run from the start, and writes those that the catalog does not have.

    Parameters
    ----------
    client
        The catalog.
    root
        The run's own container, where the catalog has it already.
    left_out
        Told of values that no column or array can hold; the rest of the event is written.
    """

    def __init__(self, client: Any, root: Any = None, left_out: LeftOut = _pass_over) -> None:
        super().__init__(client.include_data_sources(), batch_size=sys.maxsize, max_array_size=0)
        self._left_out = left_out
        self._streams: dict[str, StreamWriter] = {}  # by the names of streams, and the uids of descriptors
        self._external_there: dict[int, int] = {}  # how much the catalog has of a consolidator's data
        self._is_new = root is None
        self.root_node = root
        if root is not None:
            drop_replacement(root)
            drop_beside(root)

    def start(self, doc: dict[str, Any]) -> None:
        """Make the run's container, unless it is there."""
        if self.root_node is None:
            super().start(doc)
            self.root_node = getattr(self.root_node, "base", self.root_node)
        else:
            self.access_tags = doc.get("tiled_access_tags")

    def descriptor(self, doc: dict[str, Any]) -> None:
        """Make the stream's container, or note another configuration, unless the catalog has it."""
        name, uid = doc["name"], doc["uid"]
        is_new = name not in self._desc_nodes
        there = self._child(self.root_node, name) if is_new else self._desc_nodes[name]
        if there is not None:
            there = getattr(there, "base", there)
            self._desc_nodes[name] = self._desc_nodes[uid] = there
            self.data_keys.update(doc["data_keys"])
        if there is None or uid not in _uids(there.metadata):
            super().descriptor(doc)
        if is_new:
            self._streams[name] = StreamWriter(
                self.root_node,
                self._desc_nodes[name],
                doc["data_keys"],
                self.access_tags,
                lambda *found: self.leave_out(name, *found),
                is_new=there is None,
            )
        self._streams[uid] = self._streams[name]

    def event(self, doc: dict[str, Any]) -> None:
        """Keep an event for the next flush, unless the catalog has it."""
        stream = self._streams[doc["descriptor"]]
        if not stream.has(doc["seq_num"]):
            stream.add(doc)

    def has(self, descriptor: str, number: int) -> bool:
        """True if the catalog has all of an event, which then need not be handed over; asked once for each."""
        stream = self._streams.get(descriptor)
        return stream is not None and stream.is_internal and stream.has(number)

    def leave_out(self, stream: str, key: str, number: int, value: Any, reason: str) -> None:
        """Note a value that is not written."""
        note = f"{key} of event {number} in stream {stream} is left out: {reason}"
        if len(self.notes) < _MOST_NOTES and note not in self.notes:
            self.notes.append(note)
        self._left_out(stream, key, number, value, reason)

    def flush(self) -> None:
        """Write all that was kept; then it can be seen in the catalog."""
        for stream in dict.fromkeys(self._streams.values()):
            stream.write()
        for uid in list(self._external_data_cache):
            self._write_external_data(self._external_data_cache.pop(uid))

    def stop(self, doc: dict[str, Any]) -> None:
        """Write the stop document, and what was kept before it."""
        self.flush()
        super().stop(doc)

    # Data in files

    def get_sres_node(self, sres_uid: str, desc_uid: str | None = None) -> Any:
        """Find or make the node of a resource; one that the catalog has is taken up again."""
        resource = self._stream_resource_cache.get(sres_uid)
        if sres_uid not in self._sres_nodes and resource is not None and desc_uid:
            stream = self._desc_nodes[desc_uid]
            name = f"{stream.item['id']}_{resource['data_key']}"
            there = None if name in self._sres_nodes else self._child(stream, resource["data_key"])
            if there is not None:
                consolidator = consolidator_factory(resource, stream.metadata)
                self._sres_nodes[name] = self._sres_nodes[sres_uid] = there
                self._consolidators[name] = self._consolidators[sres_uid] = consolidator
                self._external_there[id(consolidator)] = _extent(source_of(there))
        return super().get_sres_node(sres_uid, desc_uid)

    def _write_external_data(self, doc: Any) -> None:
        """Tell the catalog of files; never of fewer than it knows, while the documents of a run come again."""
        node, consolidator, patch = self._update_consolidator(doc)
        source = consolidator.get_data_source()
        if _extent(source) > self._external_there.get(id(consolidator), 0):
            self._update_data_source_for_node(node, source, patch)

    def _child(self, node: Any, key: str) -> Any:
        return None if self._is_new else find_child(node, key)

    def _close_stream_tree(self) -> None:
        nodes = [*self._sres_nodes.values(), *self._desc_nodes.values(), self.root_node]
        for stream in dict.fromkeys(self._streams.values()):
            nodes += stream.nodes
        for node in {node.uri: node for node in nodes}.values():
            node.close_stream()


def _uids(metadata: Mapping[str, Any]) -> set[str]:
    """Descriptors that a stream's container tells of."""
    return {metadata.get("uid", ""), *(update["uid"] for update in metadata.get("_config_updates", ()))}


def _extent(source: Any) -> int:
    """How much a data source tells of: rows of an array, or files."""
    structure = source.structure
    shape = structure.get("shape") if isinstance(structure, dict) else getattr(structure, "shape", None)
    return int(shape[0]) if shape else len(source.assets)


class _Normalizer(RunNormalizer):  # type: ignore[misc] # the library has no types
    def __init__(self, left_out: LeftOut) -> None:
        super().__init__()
        self._left_out = left_out
        self._known: dict[str, tuple[str, set[str]]] = {}

    def descriptor(self, doc: dict[str, Any]) -> None:
        """Pass on without the keys that the schema of documents has no place for."""
        known = {key: entry for key, entry in doc["data_keys"].items() if key and not set(key) & set("./")}
        self._known[doc["uid"]] = doc["name"], set(known)
        if len(known) < len(doc["data_keys"]):
            objects = {name: [key for key in keys if key in known] for name, keys in doc.get("object_keys", {}).items()}
            doc = doc | {"data_keys": known, "object_keys": objects}
        super().descriptor(doc)

    def event(self, doc: dict[str, Any]) -> None:
        """Pass on without values of keys that the descriptor does not tell of."""
        stream, known = self._known.get(doc["descriptor"], ("", set(doc["data"])))
        for key in sorted(doc["data"].keys() - known):
            reason = "no valid descriptor tells of this key"
            self._left_out(stream, key, doc["seq_num"], doc["data"][key], reason)
        if not known >= doc["data"].keys():
            own = {name: {key: doc[name][key] for key in doc[name] if key in known} for name in ("data", "timestamps")}
            doc = doc | own
        super().event(doc)

    def emit(self, name: DocumentNames, doc: dict[str, Any]) -> None:
        """Check and pass on; the schema's validator would print every array into messages that nobody sees."""
        checked = doc
        if name is DocumentNames.event:
            data = {key: [] if isinstance(value, np.ndarray) else value for key, value in doc["data"].items()}
            checked = doc | {"data": data}
        schema_validators[name].validate(checked)
        self.dispatcher.process(name, doc)


def normalized(writer: RunWriter) -> Any:
    """A callback that brings documents of all ages into today's form (``resource`` and ``datum`` too) for a writer."""
    normalizer = _Normalizer(writer.leave_out)
    normalizer.subscribe(writer)
    return normalizer
