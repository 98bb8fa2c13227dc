"""``saxsleash`` as a user runs it, against a server on a real socket."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest
from PIL import Image as Picture

from saxs_bluesky.cli import _leash_plot
from saxs_bluesky.cli.saxsleash import main
from saxs_bluesky.errors import SaxsError
from saxs_bluesky.leash import Command, NetworkEntry, new_entry, write_network
from tests.helpers.commands import command_line
from tests.helpers.hostile import CALIBRATION, MERGE, npy
from tests.helpers.leash_validation import SECRET
from tests.helpers.talking import GRAPH, PLOT, Server, assert_signed, raw, silence

COMMAND = command_line("saxsleash")
BACKEND = """
from matplotlib.backend_bases import FigureManagerBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from saxs_bluesky.cli import _leash_plot

class Manager(FigureManagerBase):
    def show(self):
        _leash_plot._ASK_EVERY = 0.02
        print("window", self.get_window_title(), flush=True)

class FigureCanvas(FigureCanvasAgg):
    manager_class = Manager
    looks = 0

    def flush_events(self):
        FigureCanvas.looks += 1
        title = self.figure.get_suptitle()
        if FigureCanvas.looks == 1:
            print([axes.get_title() for axes in self.figure.axes], flush=True)
            self.figure.axes and self.figure.axes[0].set_xlim(1, 2)
        print(repr(title), [axes.get_xlim() for axes in self.figure.axes][:1], flush=True)
        ACTION
"""
CLOSE = "__import__('matplotlib.pyplot').pyplot.close(self.figure)"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


@pytest.fixture(autouse=True)
def folder(server: Server, tmp_path: Path, document: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder that is the user's home too, with a network file whose second server is that of the test."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    other = NetworkEntry("tcp://127.0.0.1:1", "", SECRET)
    write_network([NetworkEntry(server.address, "", SECRET), other])
    (tmp_path / "cal.json").write_text(json.dumps(CALIBRATION))
    for name in ("mask.npy", "other.npy"):
        (tmp_path / name).write_bytes(npy())
    (tmp_path / "merge.json").write_text(json.dumps(MERGE).replace("/home/user/", ""))
    (tmp_path / "data.log").write_text("1\t2\n")
    return tmp_path


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *words],
        env={name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
        | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def texts(svg: str) -> list[str]:
    return re.findall(r"<!-- (.*?) -->", Path(svg).read_text())


ASKED = [
    (["stat"], Command.STAT, {}),
    (["close"], Command.CLOSE, {}),
    (["close", "queue"], Command.CLOSE, {}),
    (["close queue"], Command.CLOSE, {}),
    (["abort"], Command.ABORT, {}),
    (["abort", "queue"], Command.ABORT, {}),
    (["readdir"], Command.READDIR, {}),
    (["get"], Command.GET, {}),
    (["plotdata"], Command.PLOT, {}),
    (["listdir"], Command.LISTDIR, {"directory": []}),
    (["listdir", "user/2014"], Command.LISTDIR, {"directory": ["user", "2014"]}),
    (["fileslist"], Command.FILESLIST, {}),
    (["mergestat"], Command.MERGESTAT, {}),
    (["getmergestat"], Command.MERGESTAT, {}),
    (["getmergedata"], Command.GETMERGEDATA, {}),
]  # fmt: skip


@pytest.mark.parametrize(("words", "command", "argument"), ASKED)
@pytest.mark.parametrize("protocol", ["1", "2"])
def test_commands_print_answers_as_json(
    server: Server,
    words: list[str],
    command: Command,
    argument: dict[str, Any],
    protocol: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*words, "--protocol", protocol]) == 0
    (message,) = server.messages
    assert_signed(message)
    sent = json.loads(message[0])
    assert (sent["command"], sent["argument"], len(message)) == (command.value, argument, 1)
    said, complained = capsys.readouterr()
    assert complained == ""
    assert said.startswith('{\n  "result": ')
    assert set(json.loads(said)) == {"result", "data"}


@pytest.mark.parametrize(
    ("words", "mask", "directory"),
    [
        (["new", "cal.json"], "mask.npy", ["user", "2014"]),
        (["new", "queue", "cal.json"], "mask.npy", ["user", "2014"]),
        (["new", "cal.json", "user/x"], "mask.npy", ["user", "x"]),
        (["new", "cal.json", "other.npy", "user/x"], "other.npy", ["user", "x"]),
        (["new", "cal.json", "other.npy", "."], "other.npy", []),
    ],
)
def test_new_takes_one_two_or_three_arguments(
    server: Server, words: list[str], mask: str, directory: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 0
    body, attachment = server.messages[0]
    assert {request.command for request in server.requests[1:]} <= {Command.LISTDIR}
    calibration = json.loads(body)["argument"]["calibration"]
    assert (calibration["Masks"][0]["MaskFile"], calibration["Directory"]) == (mask, directory)
    assert json.loads(attachment)["filename"] == mask
    assert json.loads(capsys.readouterr().out)["result"] == "new queue"


@pytest.mark.parametrize(
    ("path", "is_there"),
    [("user", True), (".", True), ("user/2014", False), ("other", False), ("a\u00e9.tif", False)],
)
def test_folder_that_is_not_there_yet_is_told_of(
    server: Server, path: str, is_there: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", "cal.json", path]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["result"] == "new queue"
    wanted = f"saxsleash: no such folder yet: {path} (the queue waits for it)\n"
    assert said.err == ("" if is_there else wanted)


def test_server_that_cannot_list_spoils_no_new(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    def speak(parts: list[bytes]) -> list[bytes] | None:
        if json.loads(parts[0])["command"] == "listdir":
            return [b'{"result": "OSError", "data": {"Error": "no such folder", "threads": 2}}']
        return server.answer(parts)

    server.speak = speak
    assert main(["new", "cal.json"]) == 0
    assert capsys.readouterr().err == ""


def test_mask_without_folder_is_a_misunderstanding(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "cal.json", "other.npy"]) == 2
    assert "other.npy: wanted a folder on the server, found a file here" in capsys.readouterr().err
    assert server.messages == []


def test_merge_sends_its_logs(server: Server) -> None:
    assert main(["mergedata", "merge.json"]) == 0
    ((body, log),) = server.messages
    assert json.loads(body)["argument"]["mergeconf"]["OutputFileBaseName"] == "merged"
    assert json.loads(log) == {"filename": "data.log", "data": "1\t2\n"}


def test_program_runs(server: Server) -> None:
    done = run("stat")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["data"]["stat"]["queue length"] == 3


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (
            ["stat"],
            [r"queue length +3", r"images processed  4", r"time  .*2023.*:20", "start.*", ".*0", "folder.* user/2014"],
        ),
        (["listdir"], ["user/", "a\ufffd\\[2J\u00e9.tif"]),
        (["fileslist"], [r"Radial0  work/a.chi", r"Radial0  work/b.chi", r"Slice1   work/a_cS1.chi"]),
        (["plot"], ["curve  time +file +I0 +I1  I2", "R0     2023.*:19  a.tif  1.5  2   3", "R0 .* b.tif  2.5  3   4"]),
        (["getmergestat"], ["read 3 logs", "no shutter"]),
        (["getmergedata"], ["csv  merged.csv"]),
        (["new", "cal.json"], ["new queue"]),
        (["mergedata", "merge.json"], ["merge started"]),
        (["get"], [r"\{", '  "Wavelength": 1.54,', r'  "Directory": \[', '    "user",', '    "2014"', r"  \]", r"\}"]),
    ],
)  # fmt: skip
def test_tables_are_for_people(words: list[str], lines: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--table"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert len(said) == len(lines)
    for line, wanted in zip(said, lines, strict=True):
        assert re.fullmatch(wanted, line), line


@pytest.mark.parametrize(
    ("words", "answer", "wanted"),
    [
        ("stat", {"result": "stat", "data": {"stat": {}}}, "no queue\n"),
        ("get", {"result": "no queue", "data": {}}, "no queue\n"),
        ("stat", {"result": "stat", "data": {"stat": {"time": "now", "start time": 1e300}}}, "time        now\n"),
        ("fileslist", {"result": "resultfileslists", "data": {"fileslist": {"JSON": []}}}, ""),
        ("listdir", {"result": "listdir", "data": {"dircontent": []}}, ""),
        ("plot", {"result": "Empty", "data": {}}, "Empty\n"),
        (
            "plot",
            {"result": "plot", "data": {"IntegralParameters": {"R0": {"I0": 5}}}},
            "curve  time  file  I0  I1  I2\n",
        ),
    ],
)
def test_tables_of_strange_answers(
    server: Server, words: str, answer: Any, wanted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server.speak = raw(answer)
    assert main([words, "--table"]) == 0
    said, complained = capsys.readouterr()
    assert complained == ""
    assert said.startswith(wanted)


def test_table_shows_what_the_terminal_can(server: Server) -> None:
    done = run("listdir", "--table", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stdout, done.stderr) == (0, "user/\na?[2J?.tif\n", "")


def test_error_of_the_server_is_one_line_and_its_answer(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    answer = {"result": "OSError", "data": {"Error": "user: wanted a folder, found none"}}
    server.speak = raw(answer)
    assert main(["listdir", "user"]) == 1
    said, complained = capsys.readouterr()
    assert json.loads(said) == answer
    assert complained == f"saxsleash: {server.address}: OSError: user: wanted a folder, found none\n"
    assert main(["listdir", "user", "--table"]) == 1
    assert capsys.readouterr() == ("", complained)


def test_no_answer_is_a_timeout(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.speak = silence
    assert main(["stat", "--timeout", "0.2"]) == 1
    said, complained = capsys.readouterr()
    assert json.loads(said)["result"] == "Timeout"
    assert len(complained.splitlines()) == 1


def test_garbage_is_one_line(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.speak = raw(b"\x1b[2J")
    assert main(["stat"]) == 1
    said, complained = capsys.readouterr()
    assert said == ""
    assert complained.startswith(f"saxsleash: {server.address}: answer: wanted JSON")
    with pytest.raises(SaxsError):
        main(["stat", "--debug"])


def test_server_is_chosen_by_number(folder: Path, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    write_network([new_entry(server_port=1), NetworkEntry(server.address, "", SECRET)], "other.network")
    assert main(["listdir", "-N", "1", "--network", "other.network", "user"]) == 0
    assert main(["-N", "2", "stat"]) == 2
    assert "wanted a number from 0 to 1, found server number 2" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["-S", "--server"])
def test_address_overrides_that_of_the_file(server: Server, option: str) -> None:
    assert main([option, f"127.0.0.1:{server.port}", "-N", "1", "stat"]) == 0


def test_network_file_that_others_can_read_is_told_of(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / ".saxsdognetwork").chmod(0o644)
    assert main(["stat"]) == 0
    assert "other users can read or change this file, which holds secrets; run chmod 600" in capsys.readouterr().err


def test_network_file_is_wanted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / ".saxsdognetwork").unlink()
    assert main(["stat"]) == 2
    assert "saxsnetconf makes one" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "required"),
        (["dance"], "wanted a command (close, abort, new, "),
        (["stat", "now"], "arguments of stat: wanted 0, found 1"),
        (["new"], "arguments of new: wanted 1 to 3, found 0"),
        (["new", "a", "b", "c", "d"], "arguments of new: wanted 1 to 3, found 4"),
        (["mergedata"], "arguments of mergedata: wanted 1, found 0"),
        (["listdir", "a", "b"], "arguments of listdir: wanted 0 to 1, found 2"),
        (["stat", "-o", "a.png"], "-o/--out: wanted with plot"),
        (["plot", "--table", "-o", "a.png"], "-o/--out: wanted with plot"),
        (["stat", "--protocol", "3"], "--protocol"),
        (["plot", "-s", "-1"], "--skip"),
        (["stat", "--timeout", "nan"], "--timeout"),
    ],
)
def test_wrong_usage(server: Server, words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
    assert server.messages == []


@pytest.mark.parametrize("words", [["new", "absent.json"], ["mergedata", "absent.json"], ["listdir", "../x"]])
def test_what_cannot_be_sent_is_wrong_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_help_shows_commands_and_one_spelling(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "new CALIBRATION [[MASK] DIRECTORY]" in text
    assert "usage: saxsleash" in text
    assert "--xaxisistype SCALE" in text
    assert "axsis" not in text
    assert "mergestat           show new messages of the merge; also called getmergestat" in text


def test_error_names_both_names_of_one_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["mergestatus"])
    assert "getmergedata, mergestat or getmergestat, plotdata), found mergestatus" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["plot"], ["send", "plot"]])
def test_plot_is_saved(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "-o", "plot.png", "-y", "log"]) == 0
    assert capsys.readouterr() == ("plot.png: written\n", "")
    with Picture.open("plot.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > picture.height
    main([*words, "-o", "plot.svg"])
    assert {
        "user/2014/frame_00012.tif", "images processed 4, queue length 3", "R0 (whole detector)", "slice along x at 5",
        "R0", "slice", "error", "Intensity (counts/pixel)",
    } <= set(texts("plot.svg"))  # fmt: skip


def test_scales_have_several_spellings() -> None:
    def drawn(*options: str) -> bytes:
        assert main(["plot", *options, "-o", "plot.svg"]) == 0
        return Path("plot.svg").read_bytes()

    for short, *others in (
        ("-x", "--xaxisistype", "--xaxsistype"),
        ("-y", "--yaxisistype", "--yaxsistype", "--yaxsisstype"),
    ):
        wanted = drawn(short, "symlog")
        assert wanted != drawn()
        assert all(drawn(other, "symlog") == wanted for other in others)


def test_ends_are_left_out() -> None:
    for options, name in ((["-s", "0", "-k", "1"], "one"), ([], "same"), (["-s", "9", "--clip", "30"], "other")):
        assert main(["plot", *options, "-o", f"{name}.svg"]) == 0
    one, same, other = (Path(f"{name}.svg").read_bytes() for name in ("one", "same", "other"))
    assert one == same != other


def test_nothing_left_between_the_ends_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plot", "-s", "80", "-o", "a.png"]) == 2
    assert "wanted points between the first 80 and the last 1, found 80 in all" in capsys.readouterr().err


@pytest.mark.parametrize("result", ["Empty", "no queue"])
def test_nothing_to_draw_makes_no_picture(server: Server, result: str, capsys: pytest.CaptureFixture[str]) -> None:
    server.speak = raw({"result": result, "data": {}})
    assert main(["plot", "-o", "a.png"]) == 1
    said, complained = capsys.readouterr()
    assert (said, complained) == ("", f"saxsleash: {server.address}: wanted curves to draw, found {result}\n")
    assert not Path("a.png").exists()


def test_curves_without_a_number_in_them_are_drawn(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_leash_plot, "_MOST_PANELS", 2)
    nothing = {**GRAPH, "array": [[1.0, 2.0, 3.0], [float("nan")] * 3, [float("nan")] * 3]}
    many = [{**GRAPH, "conf": {"Name": f"$\x1b_{number}"}} for number in range(3)]
    for number, graphs in enumerate(([nothing], many)):
        server.speak = raw({"result": "plot", "data": {**PLOT, "filename": "$\\x\x1b\udcff", "graphs": graphs}})
        assert main(["plot", "-y", "log", "-x", "log", "-o", f"{number}.svg"]) == 0
    assert "no positive intensity" in texts("0.svg")
    assert texts("1.svg").count("Intensity (counts/pixel)") == 2


def test_no_window_is_one_line_that_tells_the_way_out(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    mpl.use("agg")
    assert main(["plot"]) == 2
    assert capsys.readouterr().err == (
        "saxsleash: no display to open a window on; name a file to draw into, such as -o plot.png\n"
    )
    assert server.messages == []


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have a display always")
def test_windows_asked_for_without_a_display_are_the_same_error() -> None:
    done = run("plot", MPLBACKEND="TkAgg")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("saxsleash: no display to open a window on")
    assert len(done.stderr.splitlines()) == 1


def show(folder: Path, action: str) -> subprocess.CompletedProcess[str]:
    (folder / "painted_window.py").write_text(BACKEND.replace("ACTION", action))
    return run("plot", MPLBACKEND="module://painted_window", PYTHONPATH=str(folder))


def test_window_follows_until_it_is_closed(folder: Path, server: Server) -> None:
    def speak(parts: list[bytes]) -> list[bytes] | None:
        answer: Any = {"result": "Error", "data": {"Error": "out of order"}}
        if len(server.messages) == 1:
            answer = {"result": "plot", "data": PLOT}
        elif (folder / "seen").exists():
            answer = {"result": "no queue", "data": {}}
        return raw(answer)(parts)

    server.speak = speak
    done = show(folder, f"'order' in title and open('seen', 'w').close(); 'no curves' in title and {CLOSE}")
    assert (done.returncode, done.stderr) == (0, "")
    first, panels, *looks = done.stdout.splitlines()
    assert (first, panels) == ("window saxsleash", "['R0 (whole detector)', 'slice along x at 5']")
    assert looks[0].startswith("'user/2014/frame_00012.tif\\nimages processed 4, queue length 3'")
    assert any("Error: out of order" in look for look in looks)
    assert looks[-1] == "'no curves yet (no queue)' []"


def test_window_keeps_what_the_user_zoomed_to(folder: Path, server: Server) -> None:
    def speak(parts: list[bytes]) -> list[bytes] | None:
        return raw({"result": "plot", "data": {**PLOT, "filename": f"frame {len(server.messages)}."}})(parts)

    server.speak = speak
    done = show(folder, f"'frame 1.' not in title and {CLOSE}")
    assert (done.returncode, done.stderr) == (0, "")
    last = done.stdout.splitlines()[-1]
    assert "'frame 1." not in last
    assert "1.0" in last
    assert "2.0" in last


def test_window_ends_with_ctrl_c(folder: Path) -> None:
    done = show(folder, "FigureCanvas.looks == 1 and __import__('os').kill(__import__('os').getpid(), 2)")
    assert (done.returncode, done.stderr) == (0, "")


def test_window_does_not_open_without_an_answer(folder: Path, server: Server) -> None:
    server.speak = raw({"result": "Error", "data": {"Error": "out of order"}})
    done = show(folder, "")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"saxsleash: {server.address}: Error: out of order\n"
