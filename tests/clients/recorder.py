"""Runs a client's script unchanged and writes down which code of installed packages it entered.

Runs in the client's environment: `python recorder.py RECORD.json SCRIPT ARGUMENT...`. Nothing is imported before the script, replaced or
wrapped: the interpreter's own profile hook notes the code objects that are entered. RECORD.json: `[["tritonclient/http/_client.py", 1361],
…]`, file (below the installed packages) and first line of each.
"""

import json
import runpy
import sys
import sysconfig
import threading
from pathlib import Path


def run(script, arguments, entered):
    """Run a script as if it were started, and add the codes that are entered."""

    def note(frame, event, _argument):
        if event == "call":
            entered.add(frame.f_code)

    sys.argv = [script, *arguments]
    threading.setprofile(note)
    sys.setprofile(note)
    try:
        runpy.run_path(script, run_name="__main__")
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def main(record, script, *arguments):
    """Run, and write the record however it ends."""
    entered = set()
    installed = sysconfig.get_path("purelib")
    try:
        run(script, arguments, entered)
    finally:
        codes = [code for code in entered.copy() if code.co_filename.startswith(installed)]
        places = {(str(Path(code.co_filename).relative_to(installed)), code.co_firstlineno) for code in codes}
        Path(record).write_text(json.dumps(sorted(places)))


main(*sys.argv[1:])
