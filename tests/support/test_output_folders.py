"""Folders to write to: what links do, and do not do, on the way."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from saxs_bluesky.support.output_folders import LinkError, LinkRule, OutputFolder, draft_name, open_file, open_folder

NOBODY = 65534
USER = LinkRule()
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be two users")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def opened(path: Path, rule: LinkRule = USER, **more: bool) -> OutputFolder:
    return open_folder(path, rule, **more)


def test_folders_are_made_where_they_are_missing(tmp_path: Path) -> None:
    opened(tmp_path / "a" / "b").write("c.chi", b"curve")
    assert (tmp_path / "a" / "b" / "c.chi").read_bytes() == b"curve"
    assert names(tmp_path / "a" / "b") == ["c.chi"]
    with pytest.raises(FileNotFoundError):
        opened(tmp_path / "x", make=False)
    assert not (tmp_path / "x").exists()


def test_file_in_the_way_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "work").write_text("")
    with pytest.raises(FileExistsError):
        opened(tmp_path / "work")


def test_folder_stays_open_and_is_opened_again_when_it_is_another(tmp_path: Path) -> None:
    first = opened(tmp_path / "work")
    assert opened(tmp_path / "work") is first
    (tmp_path / "work").rename(tmp_path / "old")
    opened(tmp_path / "work").write("a", b"")
    assert names(tmp_path / "work") == ["a"]
    assert names(tmp_path / "old") == []


def test_no_more_descriptors_than_needed(tmp_path: Path) -> None:
    before = len(names(Path("/proc/self/fd")))
    for number in range(200):
        opened(tmp_path / str(number)).write("a", b"")
    assert len(names(Path("/proc/self/fd"))) < before + 70


# What has the name of the file


def _link(path: Path, elsewhere: Path) -> None:
    path.symlink_to(elsewhere)


def _dangling(path: Path, elsewhere: Path) -> None:
    path.symlink_to(elsewhere.with_name("not there"))


def _hard_link(path: Path, elsewhere: Path) -> None:
    path.hardlink_to(elsewhere)


def _pipe(path: Path, _: Path) -> None:
    os.mkfifo(path)


ANYTHING = [_link, _dangling, _hard_link, _pipe]


@pytest.mark.parametrize("rule", [USER, "within"])
@pytest.mark.parametrize("which", ["target", "draft"])
@pytest.mark.parametrize("put", ANYTHING)
def test_file_takes_the_place_of_whatever_has_its_name(
    tmp_path: Path, put: Callable[[Path, Path], None], which: str, rule: LinkRule | str
) -> None:
    (tmp_path / "base" / "work").mkdir(parents=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("mine")
    put(tmp_path / "base" / "work" / ("a.chi" if which == "target" else draft_name("a.chi")), elsewhere)
    rule = LinkRule(tmp_path / "base") if isinstance(rule, str) else rule
    opened(tmp_path / "base" / "work", rule).write("a.chi", b"curve")
    assert elsewhere.read_text() == "mine"
    assert names(tmp_path) == ["base", "elsewhere"]
    assert names(tmp_path / "base" / "work") == ["a.chi"]
    chi = tmp_path / "base" / "work" / "a.chi"
    assert not chi.is_symlink()
    assert chi.read_bytes() == b"curve"


def test_what_was_there_stays_where_writing_fails(tmp_path: Path) -> None:
    (tmp_path / "a.chi").mkdir()
    with pytest.raises(IsADirectoryError):
        opened(tmp_path).write("a.chi", b"curve")
    assert names(tmp_path) == ["a.chi"]


@pytest.mark.parametrize("name", ["a" * 251 + ".chi", "\udcff\u00a0.chi", "a\nb.chi"])
def test_any_name_that_a_file_may_have(tmp_path: Path, name: str) -> None:
    folder = opened(tmp_path)
    folder.write(name, b"curve")
    assert (tmp_path / name).read_bytes() == b"curve"
    (tmp_path / draft_name(name)).write_text("left")
    (tmp_path / draft_name("b.chi")).write_text("of another")
    folder.remove_drafts([name])
    assert names(tmp_path) == sorted([name, draft_name("b.chi")])


# A server: nothing out of its base


@pytest.mark.parametrize(
    "target", ["{outside}", "../../outside", "deeper/../../../outside", "../../base2", "/", "../.."]
)
def test_no_link_leads_out_of_the_base(tmp_path: Path, target: str) -> None:
    outside = tmp_path / "outside"
    for folder in (outside, tmp_path / "base2", tmp_path / "base" / "run" / "deeper"):
        folder.mkdir(parents=True)
    (tmp_path / "base" / "run" / "work").symlink_to(target.format(outside=outside))
    for path in ("run/work", "run/work/below"):
        with pytest.raises(LinkError, match="leads out of"):
            opened(tmp_path / "base" / path, LinkRule(tmp_path / "base"))
    assert names(outside) == []
    assert names(tmp_path) == ["base", "base2", "outside"]


def test_what_is_not_below_the_base_is_not_opened(tmp_path: Path) -> None:
    for path in ("other", "base2", ".", "base/../other"):
        with pytest.raises(LinkError, match="leads out of"):
            opened(tmp_path / path, LinkRule(tmp_path / "base"))
    assert names(tmp_path) == []


@pytest.mark.parametrize("target", ["../disk", "{base}/disk", "../run/../disk", "{link}/disk"])
def test_links_that_stay_below_the_base_are_followed(tmp_path: Path, target: str) -> None:
    base = tmp_path / "base"
    (base / "disk").mkdir(parents=True)
    (base / "run").mkdir()
    (tmp_path / "link").symlink_to(base)
    (base / "run" / "work").symlink_to(target.format(base=base, link=tmp_path / "link"))
    opened(base / "run" / "work" / "more", LinkRule(base)).write("a", b"")
    assert names(base / "disk" / "more") == ["a"]


def test_folder_that_becomes_a_link_between_two_files_is_not_written_to(tmp_path: Path) -> None:
    base, outside = tmp_path / "base", tmp_path / "outside"
    outside.mkdir()
    rule = LinkRule(base)
    folder = opened(base / "run" / "work", rule)
    folder.write("a", b"")
    (base / "run" / "work").rename(base / "run" / "old")
    (base / "run" / "work").symlink_to(outside)
    folder.write("b", b"")  # which was opened before
    assert names(base / "run" / "old") == ["a", "b"]
    with pytest.raises(LinkError):
        opened(base / "run" / "work", rule)
    assert names(outside) == []


def test_folder_above_that_becomes_a_link_is_not_followed(tmp_path: Path) -> None:
    base, outside = tmp_path / "base", tmp_path / "outside"
    (outside / "work").mkdir(parents=True)
    opened(base / "run" / "work", LinkRule(base))
    (base / "run").rename(base / "old")
    (base / "run").symlink_to(outside)
    with pytest.raises(LinkError):
        opened(base / "run" / "work", LinkRule(base))
    assert names(outside / "work") == []


def test_links_in_a_circle_come_to_an_end(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    for rule in (USER, LinkRule(tmp_path)):
        with pytest.raises(OSError, match="symbolic links"):
            opened(tmp_path / "a" / "work", rule)


def test_what_a_link_promises_is_not_made(tmp_path: Path) -> None:
    (tmp_path / "work").symlink_to("disk/that/is/away")
    with pytest.raises(FileNotFoundError):
        opened(tmp_path / "work")
    assert names(tmp_path) == ["work"]


# A user's command: whose links


def test_own_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "work").symlink_to(tmp_path / "scratch")
    opened(tmp_path / "work" / "more").write("a", b"")
    assert names(tmp_path / "scratch" / "more") == ["a"]


@as_root
def test_links_of_others_are_not_followed(tmp_path: Path) -> None:
    theirs, target = tmp_path / "theirs", tmp_path / "target"
    target.mkdir()
    theirs.mkdir()
    (theirs / "work").symlink_to(target)
    os.chown(theirs, NOBODY, NOBODY)
    os.chown(theirs / "work", NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(LinkError, match=rf"{theirs}/work: a symbolic link of user nobody, .* for user root: .*\(-o\)"):
        opened(theirs / "work")
    # In a folder that only the user may write to, it is the user's affair; not in one that others may write to.
    os.chown(theirs, 0, 0)
    opened(theirs / "work")
    opened(tmp_path)
    theirs.chmod(0o777)
    (target / "other").mkdir()
    (theirs / "again").symlink_to(target / "other")
    os.chown(theirs / "again", NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(LinkError):
        opened(theirs / "again")
    assert names(target) == ["other"]


@as_root
def test_a_user_follows_links_of_the_administrator_and_none_of_other_users(tmp_path: Path) -> None:
    place = Path("/tmp") / f"saxs-bluesky-test-{os.getpid()}"  # that nobody can reach
    place.mkdir(mode=0o755)
    try:
        target = place / "target"
        target.mkdir()
        target.chmod(0o777)
        for name, owner in (("of_root", 0), ("own", NOBODY), ("of_another", 1)):
            (place / name).symlink_to(target)
            os.chown(place / name, owner, owner, follow_symlinks=False)
        code = (
            "import os, sys\n"
            f"os.setresgid({NOBODY}, {NOBODY}, {NOBODY}); os.setresuid({NOBODY}, {NOBODY}, {NOBODY})\n"
            "from pathlib import Path\n"
            "for name in sys.argv[2:]:\n"
            "    try:\n"
            "        open_folder(Path(sys.argv[1], name), LinkRule()).write(name, b'')\n"
            "    except LinkError as error:\n"
            "        print(error)\n"
        )
        code = "from saxs_bluesky.support.output_folders import LinkError, LinkRule, open_folder\n" + code
        found = subprocess.run(
            [sys.executable, "-c", code, str(place), "of_root", "own", "of_another"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert names(target) == ["of_root", "own"]
        assert found.stdout.startswith(f"{place}/of_another: a symbolic link of user daemon, which is not followed")
    finally:
        subprocess.run(["rm", "-r", str(place)], check=True)


# Files that are written in place


ADD = os.O_WRONLY | os.O_APPEND | os.O_CREAT


def test_file_is_opened_through_links_that_may_be_followed_only(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (tmp_path / "outside").write_text("mine")
    (base / "out.log").symlink_to(tmp_path / "outside")
    (base / "in.log").symlink_to("real.log")
    with pytest.raises(LinkError):
        open_file(base / "out.log", LinkRule(base), ADD)
    for rule in (LinkRule(base), USER):
        os.close(open_file(base / "in.log", rule, ADD))
        assert names(base) == ["in.log", "out.log", "real.log"]
    os.close(open_file(base / "out.log", USER, ADD))
    assert (tmp_path / "outside").read_text() == "mine"


@as_root
def test_file_is_not_opened_through_a_link_of_another(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("mine")
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "a.log").symlink_to(tmp_path / "outside")
    for path in (theirs, theirs / "a.log"):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(LinkError, match="of user nobody"):
        open_file(theirs / "a.log", USER, ADD)


def test_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match=r"No such device|no regular file"):
        open_file(tmp_path / "pipe", USER, ADD)
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(OSError, match="no regular file"):
        open_file(tmp_path / "pipe", USER, ADD)
    os.close(reader)
