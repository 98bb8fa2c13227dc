"""A process that runs the blocks of a page: Python in one namespace, the shell's in one shell, in order."""

from __future__ import annotations

import json
import subprocess
import sys

DONE = "--- done ---"


def run_blocks(page: str, blocks: list[tuple[str, str, int]]) -> None:
    """Run the blocks (language, text, line); the process ends with an error at the first that fails."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    with subprocess.Popen(["bash", "-e"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as shell:
        assert shell.stdin is not None
        assert shell.stdout is not None
        for language, text, line in blocks:
            if language == "python":
                # Empty lines before it: a traceback then names the line of the page.
                exec(compile("\n" * (line - 1) + text, page, "exec"), namespace)
                continue
            shell.stdin.write(f"{{\n{text}}} </dev/null\necho '{DONE}'\n")
            shell.stdin.flush()
            for printed in shell.stdout:
                if printed == f"{DONE}\n":
                    break
                sys.stdout.write(printed)
            else:
                sys.exit(f"{page}:{line}: the shell ended with {shell.wait()}")
        shell.stdin.close()


if __name__ == "__main__":
    run_blocks(sys.argv[1], json.loads(sys.argv[2]))
