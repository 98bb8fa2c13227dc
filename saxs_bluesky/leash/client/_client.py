"""A client of leash servers, for command lines and windows alike."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import zmq

from saxs_bluesky.errors import SaxsError
from saxs_bluesky.leash.client._exchange import CallError, Exchange
from saxs_bluesky.leash.client._request_files import (
    DocumentOrPath,
    RemotePath,
    merge_argument,
    path_parts,
    queue_argument,
)
from saxs_bluesky.leash.client._requests import Response, UnsignedRequest, read_reply
from saxs_bluesky.leash.protocol import (
    Attachment,
    Command,
    EncryptionKeys,
    Kind,
    LeashError,
    Limits,
    NetworkEntry,
    check_at_most,
    command_of,
)
from saxs_bluesky.support.addresses import tcp_address

_KINDS = {kind.value for kind in Kind}


class LeashClient:
    """Asks a server of the SAXSdog network.

    ::

        with LeashClient(read_network().choose()) as client:
            client.new("cal.json", directory="user/2014")
            client.stat().data["stat"]["queue length"]

    Each call waits for its answer. After one that failed the client can be used again; what the server made of it is
    then not known. Calls of several threads wait for each other.

    Parameters
    ----------
    server
        Entry of a network file, or an address, ``host:port``.
    secret
        What server and clients share, in place of the entry's; an address needs one.
    timeout
        Seconds to wait for an answer; deployed clients wait for 100.
    protocol
        1, that of deployed servers, or 2, which signs attachments and answers too.
    encryption
        Keys to encrypt the connection with (CURVE); None: no encryption, as with deployed servers.
    limits
        Bounds of what is sent and taken in.
    curve
        Former name of ``encryption``.

    Raises
    ------
    SaxsError
        The address is none, or there is no secret.
    """

    def __init__(
        self,
        server: NetworkEntry | str,
        *,
        secret: str | None = None,
        timeout: float = 100.0,
        protocol: int = 1,
        encryption: EncryptionKeys | None = None,
        limits: Limits | None = None,
        curve: EncryptionKeys | None = None,
    ) -> None:
        if curve is not None:
            warnings.warn("LeashClient: curve is now encryption", DeprecationWarning, stacklevel=2)
            encryption = curve
        entry = server if isinstance(server, NetworkEntry) else NetworkEntry(server, "", "")
        self.address = tcp_address(entry.server)
        self.timeout = timeout
        self._secret = entry.secret if secret is None else secret
        if not self._secret:
            raise SaxsError(f"{self.address}: wanted a secret to sign requests with, found none")
        self._protocol = protocol
        self._limits = limits or Limits()
        self._call_lock = threading.Lock()
        self._disconnected = threading.Event()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._exchange = Exchange(
            self._context, self.address, encryption, 2 * self._limits.response_bytes, self._disconnected.is_set
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.disconnect()

    def disconnect(self) -> None:
        """Ask no more, and end a call that waits; from any thread, and as often as you like."""
        self._disconnected.set()
        with self._call_lock:  # no socket is open then, for which the context would wait
            self._context.term()

    def request(
        self,
        command: Command | str,
        argument: Mapping[str, Any] | None = None,
        attachments: Sequence[Attachment] = (),
        *,
        check: bool = True,
    ) -> Response:
        """Ask whatever can be asked.

        Parameters
        ----------
        command
            What is wanted; aliases will do.
        argument
            What the command needs to know.
        attachments
            What the command wants attached.
        check
            Whether an error that the server tells of is raised; else it is returned.

        Raises
        ------
        LeashTimeoutError
            The server does not answer.
        CallError
            It answers an error, or what is no answer.
        LeashError
            The request is none, and was not sent.
        """
        known = command_of(command)
        if known is None:
            raise LeashError(Kind.NOT_IMPLEMENTED, f"wanted a command of the leash, found {command!r}")
        unsigned = UnsignedRequest.build(known, argument or {}, attachments, self._protocol)
        # What a server refuses is not sent for minutes.
        parts = unsigned.signed(self._secret)
        check_at_most(
            (
                ("bytes in an attachment", max(map(len, parts[1:]), default=0), self._limits.attachment_bytes),
                ("bytes in a message", sum(map(len, parts)), self._limits.message_bytes),
            )
        )
        with self._call_lock:
            asked, reply = self._exchange(lambda: unsigned.signed(self._secret), self.timeout)
        try:
            response = read_reply(reply, asked, self._secret, self._limits)
        except LeashError as error:
            raise CallError(error.kind, f"{self.address}: {error}") from error
        if check and (response.error is not None or response.result in _KINDS):
            told = response.error or "it does not say why"
            raise CallError(response.result, f"{self.address}: {response.result}: {told}", response)
        return response

    def new(
        self,
        calibration: DocumentOrPath,
        masks: str | Path | Sequence[str | Path | None] | None = None,
        directory: RemotePath | None = None,
    ) -> Response:
        """Open a queue in place of the one there is.

        Parameters
        ----------
        calibration
            The calibration, or its file, to which the paths of its masks are relative.
        masks
            In place of those in the calibration: one for all entries of ``Masks``, or a list with one for each,
            None for an entry without.
        directory
            Folder of the images below the server's base directory, ``user/2014`` or its names, in place of that
            in the calibration.

        Raises
        ------
        SaxsError
            A file cannot be read, or what is in it does not fit; or as `request` does.
        """
        return self.request(Command.NEW, *queue_argument(calibration, masks, directory))

    def close(self) -> Response:
        """Let the queue take no more images; those that wait are done."""
        return self.request(Command.CLOSE)

    def abort(self) -> Response:
        """Let the queue take no more images, and leave those that wait."""
        return self.request(Command.ABORT)

    def readdir(self) -> Response:
        """Put all images in again that are in the queue's folder."""
        return self.request(Command.READDIR)

    def stat(self) -> Response:
        """How the queue stands."""
        return self.request(Command.STAT)

    def get(self) -> Response:
        """Calibration and masks of the queue."""
        return self.request(Command.GET)

    def plot(self) -> Response:
        """The latest curves, and the history; `graph_curves` makes curves of them."""
        return self.request(Command.PLOT)

    def listdir(self, directory: RemotePath = ()) -> Response:
        """What a folder below the server's base directory holds: ``user/2014`` or its names."""
        return self.request(Command.LISTDIR, {"directory": path_parts(directory)})

    def fileslist(self) -> Response:
        """Files that the queue has written."""
        return self.request(Command.FILESLIST)

    def mergedata(self, conf: DocumentOrPath, logs: Sequence[str | Path] | None = None) -> Response:
        """Join the curves of the queue with the logs of the beamline.

        Parameters
        ----------
        conf
            What to join and how, or its file, to which each ``LocalPath`` in it is relative.
        logs
            In place of the files at these paths, one for each, in their order.

        Raises
        ------
        SaxsError
            A file cannot be read, or the configuration is none; or as `request` does.
        """
        return self.request(Command.MERGEDATA, *merge_argument(conf, logs))

    def getmergedata(self) -> Response:
        """Result of the last join."""
        return self.request(Command.GETMERGEDATA)

    def mergestat(self) -> Response:
        """What a join has to tell since this was last asked."""
        return self.request(Command.MERGESTAT)
