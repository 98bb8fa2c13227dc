"""The configuration of a merge: its JSON document as typed values, checked across fields."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from saxs_bluesky.errors import MergeError
from saxs_bluesky.merge._clocks import UTC, Epoch, time_zone
from saxs_bluesky.merge._tables import Method
from saxs_bluesky.schemas import fill_defaults, load_schema, validate

#: The table of this name is the log of the shutter.
SHUTTER_TABLE = "Peak"

_LONGEST_OFFSET = 2.2e9  # seconds, 70 years: a logger that counts from another epoch is inside
_LONGEST_NAME = 100  # characters of a table's name: it becomes the name of a file
# Files of a merge and names of columns that are no table's.
_TAKEN_NAMES = {"imagedata", "img", "imglog"}


@dataclass(frozen=True)
class FileSettings:
    """A file of a table.

    Parameters
    ----------
    local
        Path on the client's computer; empty where the file is on the server.
    remote
        Parts of the path below the server's base directory; of no use where there is a local path.
    """

    local: str = ""
    remote: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What the file is called in remarks and errors."""
        return self.local or "/".join(self.remote)


@dataclass(frozen=True)
class TableSettings:
    """How one table of log data is read and joined.

    Parameters
    ----------
    name
        Of the table.
    files
        Its files.
    epoch
        What its seconds count from.
    zone
        Of its wall clock: for seconds since 1904, and for dates that name no zone.
    offset
        Seconds: the table's own offset, beside that of all tables.
    method
        How its values at images are found.
    tolerance
        Seconds; None: without limit.
    steps
        Whether its values hold until the next entry; None: as `are_steps` finds out of its columns.
    first_image
        The first entry belongs to the start of the first image.
    zero_image
        The first entry belongs to the start of the zero image.
    correlate
        The offset is found by comparing openings with exposures.
    """

    name: str
    files: tuple[FileSettings, ...] = ()
    epoch: Epoch = Epoch.MAC
    zone: ZoneInfo = UTC
    offset: float = 0.0
    method: Method = Method.AUTO
    tolerance: float | None = None
    steps: bool | None = None
    first_image: bool = False
    zero_image: bool = False
    correlate: bool = False

    @property
    def synchronises(self) -> bool:
        """Whether the offset of all tables is found with this table."""
        return bool(self.flags)

    @property
    def flags(self) -> tuple[str, ...]:
        """Fields of the configuration by which the offset of all tables is found with this table."""
        by_field = {
            "FirstImageCorrelation": self.first_image,
            "ZeroImageCorrelation": self.zero_image,
            "Correlate": self.correlate,
        }
        return tuple(field for field, wanted in by_field.items() if wanted)

    def are_steps(self, columns: Iterable[str]) -> bool:
        """Whether values of a table with these columns hold until the next entry."""
        if self.steps is not None:
            return self.steps
        return self.name == SHUTTER_TABLE or "Duration" in (column.strip() for column in columns)


@dataclass(frozen=True)
class MergeSettings:
    """A merge as its configuration describes it.

    Parameters
    ----------
    tables
        Tables of log data, in the order of their columns in the merged table.
    time_offset
        Seconds: clock of the loggers minus clock of the images, beside the offset of each table.
    image_zone
        Of the detector's wall clock.
    zero_image_name
        Part of the name of the zero image.
    formats
        Formats of the files to be written: ``csv``, ``hdf``, ``exel``, ``json``, ``parquet``, ``netcdf``.
    output_name
        Name of the written files as the configuration says it, which may begin with folders: ``.//results//logs//``.
    include_chi
        Whether the HDF5 file holds the curves.
    include_tif
        Whether the HDF5 file holds the images.
    """

    tables: tuple[TableSettings, ...] = ()
    time_offset: float = 0.0
    image_zone: ZoneInfo = UTC
    zero_image_name: str = "zero_1M_00000.tif"
    formats: frozenset[str] = frozenset({"csv"})
    output_name: str = "merged"
    include_chi: bool = False
    include_tif: bool = False

    @classmethod
    def from_dict(cls, document: Mapping[str, Any], where: str = "mergeconf") -> MergeSettings:
        """Check a merge configuration and complete it with defaults.

        Parameters
        ----------
        document
            The configuration as the schema ``merge`` describes it; it is not changed.
        where
            What errors call it: its path or another name.

        Returns
        -------
        The settings.

        Raises
        ------
        SchemaError
            It does not fit its schema.
        MergeError
            Two of its fields contradict each other, or a time zone is not known.
        """
        schema = load_schema("merge")
        validate(document, schema, where)
        full = fill_defaults(dict(document), schema)
        output_name = _output_name(document, full["OutputFileName"], where)
        image_zone = time_zone(full["ImageTimeZone"], f"{where}: ImageTimeZone")
        places = [f"{where}: LogDataTables[{i}]" for i in range(len(full["LogDataTables"]))]
        tables = tuple(
            _table(table, number, image_zone, place)
            for number, (table, place) in enumerate(zip(full["LogDataTables"], places, strict=True), start=1)
        )
        _check_offset(full["TimeOffset"], f"{where}: TimeOffset")
        _check_names(tables, places)
        _check_synchronisation(tables, places)
        return cls(
            tables=tables,
            time_offset=float(full["TimeOffset"]),
            image_zone=image_zone,
            zero_image_name=full["ZeroImageName"],
            formats=frozenset(name for name, wanted in full["OutputFormats"].items() if wanted),
            output_name=output_name,
            include_chi=full["HDFOptions"]["IncludeCHI"],
            include_tif=full["HDFOptions"]["IncludeTIF"],
        )

    @property
    def synchronising(self) -> TableSettings | None:
        """The table that the offset of all tables is found with; None: the offsets are given."""
        return next((table for table in self.tables if table.synchronises), None)


def _output_name(document: Mapping[str, Any], default: str, where: str) -> str:
    """The one name in a configuration that may call it in two ways."""
    names = [document[key] for key in ("OutputFileName", "OutputFileBaseName") if key in document]
    if len(set(names)) > 1:
        raise MergeError(
            f"{where}: wanted one of OutputFileName and OutputFileBaseName, found two names: "
            f"{names[0]!r} and {names[1]!r}"
        )
    return str(names[0]) if names else default


def _table(table: Mapping[str, Any], number: int, image_zone: ZoneInfo, where: str) -> TableSettings:
    _check_offset(table["TimeOffset"], f"{where}.TimeOffset")
    zone = table["TimeZone"]
    return TableSettings(
        name=table["Name"] or f"Table{number}",
        files=tuple(_file(file, f"{where}.Files[{i}]") for i, file in enumerate(table["Files"])),
        epoch=Epoch(table["TimeEpoch"]),
        zone=time_zone(zone, f"{where}.TimeZone") if zone else image_zone,
        offset=float(table["TimeOffset"]),
        method=Method(table["Method"]),
        tolerance=table["Tolerance"],
        steps=table["Steps"],
        first_image=table["FirstImageCorrelation"],
        zero_image=table["ZeroImageCorrelation"],
        correlate=table["Correlate"],
    )


def _file(file: Mapping[str, Any], where: str) -> FileSettings:
    local, remote = file.get("LocalPath", ""), remote_parts(file)
    if not local and not remote:
        raise MergeError(f"{where}: wanted a LocalPath or a RemotePath, found neither")
    return FileSettings(local, tuple(remote))


def remote_parts(file: Mapping[str, Any]) -> list[str]:
    """Parts of the path of a file on the server, as its entry says; none where it names no such file.

    Parameters
    ----------
    file
        The entry in ``Files``, which fits its schema.

    Returns
    -------
    ``RemotePath``, or else ``Path``: its parts, or a text that is split at slashes. Parts ``"."`` and empty ones
    behind the first are kept: what they mean is for those to say who open the file.
    """
    path = file.get("RemotePath") or file.get("Path") or []
    parts = path.split("/") if isinstance(path, str) else list(path)
    return parts if any(part not in ("", ".") for part in parts) else []


def _check_offset(seconds: float, where: str) -> None:
    if abs(seconds) > _LONGEST_OFFSET:
        raise MergeError(f"{where}: wanted at most {_LONGEST_OFFSET:.1e} s, found {seconds}")


def _check_names(tables: tuple[TableSettings, ...], places: list[str]) -> None:
    """Names of tables become names of files: they must be usable as such, and no two may be the same."""
    first: dict[str, int] = {}
    for i, table in enumerate(tables):
        name, where = table.name, f"{places[i]}.Name"
        if len(name) > _LONGEST_NAME or not name.isprintable() or set("/\\").intersection(name) or name[0] == ".":
            raise MergeError(
                f"{where}: wanted a name of at most {_LONGEST_NAME} characters that can be that of a file, "
                f"found {name[:_LONGEST_NAME]!r}"
            )
        if name.casefold() in _TAKEN_NAMES:
            raise MergeError(f"{where}: wanted another name, found {name!r}, which the table of the images has")
        other = first.setdefault(name.casefold(), i)
        if other != i:
            raise MergeError(f"{where}: wanted each name once, found {name!r}, which LogDataTables[{other}] has too")


def _check_synchronisation(tables: tuple[TableSettings, ...], places: list[str]) -> None:
    """At most one table finds the offset of all, and it must be the log of the shutter."""
    for table, where in zip(tables, places, strict=True):
        if len(table.flags) > 1:
            raise MergeError(f"{where}: wanted one of {' and '.join(table.flags)}, found both true")
        if table.flags and table.name != SHUTTER_TABLE and not table.steps:
            raise MergeError(
                f"{where}.{table.flags[0]}: wanted the table of the shutter, which is called {SHUTTER_TABLE} or has "
                f"Steps true, found {table.name!r}"
            )
    flagged = [i for i, table in enumerate(tables) if table.flags]
    if len(flagged) > 1:
        first, second = flagged[:2]
        raise MergeError(
            f"{places[second]}.{tables[second].flags[0]}: wanted one table that the offset is found with, found also "
            f"LogDataTables[{first}].{tables[first].flags[0]}"
        )
