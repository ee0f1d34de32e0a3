"""Runs the parts, one line each, and one line at the end.

    run.py [--deputy PATH] [--unguarded PATH] [--keep] [PART…]
"""

import argparse
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

from harness import HERE, OUT
from parts import PARTS


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--deputy", default=HERE.parent / "target/debug/deputy", type=Path, help="the gateway's binary")
    options.add_argument("--unguarded", type=Path, help="the same, built with the feature test-hooks: what the attacks must succeed against")
    options.add_argument("--keep", action="store_true", help="keep the folders with configurations and logs")
    options.add_argument("part", nargs="*", help=f"of {', '.join(PARTS)}; all of them without")
    chosen = options.parse_args()
    names = [name for name in PARTS if not chosen.part or any(name == p or name.startswith(p + ":") for p in chosen.part)]
    if not names:
        options.error(f"no such part; there are {', '.join(PARTS)}")

    for sign in (signal.SIGTERM, signal.SIGHUP):  # end like Ctrl-C does: by way of everything that was started
        signal.signal(sign, lambda *_: sys.exit(130))
    OUT.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="deputy-conformance-"))
    failed = passed = 0
    for number, name in enumerate(names, 1):
        began = time.monotonic()
        place = folder / name.replace(":", "-")
        try:
            told, mark = PARTS[name](chosen, place), "ok  "
            passed += 1
        except Exception as error:
            told, mark = explain(error, place), "FAIL"
            failed += 1
        print(f"[{number}/{len(names)}] {mark} {name:<28} {time.monotonic() - began:5.1f} s  {told}", flush=True)
    if chosen.keep or failed:
        print(f"logs: {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"conformance: {passed} passed, {failed} failed")
    return 1 if failed else 0


def explain(error: Exception, place: Path) -> str:
    """What went wrong, where in this harness, and the gateway's last words."""
    words = [f"{type(error).__name__}: {error}"]
    if not isinstance(error, AssertionError):
        words.append("".join(traceback.format_tb(error.__traceback__)[-3:]))
    for log in sorted(place.rglob("deputy.log")):
        words.append(f"--- the end of {log}\n{log.read_text(errors='replace')[-1500:]}")
    return "\n".join(words).replace("\n", "\n      ")


if __name__ == "__main__":
    sys.exit(main())
