"""A client of leash servers, for command line, window and scripts."""

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
    """Sends requests to a server of the SAXSdog network.

    ::

        with LeashClient(read_network().choose()) as client:
            client.new("cal.json", directory="user/2014")
            client.stat().data["stat"]["queue length"]

    Each call waits for its answer. After a failed call the client can be used again, but whether the server has done
    what was asked is not known. Calls of several threads wait for each other.

    Parameters
    ----------
    server
        Entry of a network file, or an address, ``host:port``.
    secret
        Shared by server and clients; None: the entry's. Needed with an address.
    timeout
        Time to wait for an answer, in seconds; deployed clients wait 100 s.
    protocol
        1, that of deployed servers, or 2, which signs attachments and answers too.
    encryption
        Keys to encrypt the connection with (CURVE); None: no encryption, as with deployed servers.
    limits
        Limits of what is sent and received; None: the defaults.
    curve
        Former name of ``encryption``.

    Raises
    ------
    SaxsError
        The address is not valid, or there is no secret.
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
        """End a call that waits, and close the client; from any thread, also more than once."""
        self._disconnected.set()
        with self._call_lock:  # so that no socket is open: the context would wait for it
            self._context.term()

    def request(
        self,
        command: Command | str,
        argument: Mapping[str, Any] | None = None,
        attachments: Sequence[Attachment] = (),
        *,
        check: bool = True,
    ) -> Response:
        """Send any command, and wait for the answer.

        Parameters
        ----------
        command
            Command, or its name or alias.
        argument
            Argument of the command.
        attachments
            Attachments that the command needs.
        check
            Raise an error that the server answers; else it is returned like any answer.

        Raises
        ------
        LeashTimeoutError
            The server does not answer in time.
        CallError
            It answers an error, or something that is no answer.
        LeashError
            The request is not valid, and was not sent.
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
            reason = response.error or "it does not say why"
            raise CallError(response.result, f"{self.address}: {response.result}: {reason}", response)
        return response

    def new(
        self,
        calibration: DocumentOrPath,
        masks: str | Path | Sequence[str | Path | None] | None = None,
        directory: RemotePath | None = None,
    ) -> Response:
        """Open a queue in place of the present one.

        Parameters
        ----------
        calibration
            The calibration, or the path of its file, to which the paths of its masks are relative.
        masks
            Mask files in place of those in the calibration: one for all entries of ``Masks``, or a list with one for
            each entry, None for an entry without mask.
        directory
            Folder of the images in place of that in the calibration: ``user/2014``, or a list of its parts, below the
            server's base directory.

        Raises
        ------
        SaxsError
            A file cannot be read or does not fit; or as `request` does.
        """
        return self.request(Command.NEW, *queue_argument(calibration, masks, directory))

    def close(self) -> Response:
        """Let the queue take no more images, and finish those that wait."""
        return self.request(Command.CLOSE)

    def abort(self) -> Response:
        """Let the queue take no more images, and drop those that wait."""
        return self.request(Command.ABORT)

    def readdir(self) -> Response:
        """Reduce all images in the queue's folder again."""
        return self.request(Command.READDIR)

    def stat(self) -> Response:
        """Ask for the state of the queue."""
        return self.request(Command.STAT)

    def get(self) -> Response:
        """Ask for calibration and masks of the queue."""
        return self.request(Command.GET)

    def plot(self) -> Response:
        """Ask for the latest curves and the history; `graph_curves` makes curves of the answer."""
        return self.request(Command.PLOT)

    def listdir(self, directory: RemotePath = ()) -> Response:
        """List a folder below the server's base directory: ``user/2014``, or a list of its parts."""
        return self.request(Command.LISTDIR, {"directory": path_parts(directory)})

    def fileslist(self) -> Response:
        """Ask for the files that the queue has written."""
        return self.request(Command.FILESLIST)

    def mergedata(self, conf: DocumentOrPath, logs: Sequence[str | Path] | None = None) -> Response:
        """Merge the curves of the queue with the log files of the beamline.

        Parameters
        ----------
        conf
            The merge configuration, or the path of its file, to which each ``LocalPath`` in it is relative.
        logs
            Log files in place of those with a ``LocalPath``, one for each, in their order.

        Raises
        ------
        SaxsError
            A file cannot be read, or the configuration is not valid; or as `request` does.
        """
        return self.request(Command.MERGEDATA, *merge_argument(conf, logs))

    def getmergedata(self) -> Response:
        """Ask for the result of the last merge."""
        return self.request(Command.GETMERGEDATA)

    def mergestat(self) -> Response:
        """Ask for the messages of the merge since the last time."""
        return self.request(Command.MERGESTAT)
