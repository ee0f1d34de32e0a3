"""The official suite: its authorization-server scenarios, and its server scenarios through the gateway."""

import collections
import json
import re
import subprocess
import threading
from pathlib import Path

from person import Browser
from harness import HERE, MODULES, NODE, World, free_port, run, world

SUITE = MODULES / "@modelcontextprotocol/conformance/dist/index.js"
CIMD = "authorization-server-metadata-cimd"

# Every check by its id: a scenario that is skipped, or silently lost, is not green.
METADATA, GRANT = "authorization-server-metadata", "authorization-code-grant"
AUTHORIZATION = {
    "2025-03-26": {METADATA, GRANT},
    "2025-06-18": {METADATA, GRANT},
    "2025-11-25": {METADATA, GRANT, CIMD},
    "2026-07-28": {METADATA, GRANT, CIMD},
}


def results(folder: Path) -> dict[str, list[dict]]:
    """What the suite wrote: scenario → its checks. It names a folder after the scenario and the time."""
    folders = {re.sub(r"-\d{4}-\d\d-\d\dT.*", "", path.parent.name): path for path in folder.glob("*/checks.json")}
    return {scenario: json.loads(path.read_text()) for scenario, path in sorted(folders.items())}


def authorization(version: str):
    def play(options, folder) -> str:
        with world(options.deputy, folder) as w:
            port = free_port()
            client = w.register("Conformance", f"http://127.0.0.1:{port}/callback")
            command = [
                NODE, str(SUITE), "authorization", "--url", w.url, "--client-id", client, "--resource", w.mcp,
                "-p", str(port), "--spec-version", version, "-o", str(folder / "out"),
            ]  # fmt: skip
            consents = with_person(command, 60)
            told = {check["id"]: check for checks in results(folder / "out").values() for check in checks}
            assert set(told) == AUTHORIZATION[version], f"checks: {sorted(told)}"
            for name, check in told.items():
                # Client ID metadata documents are a recommendation that the gateway does not offer yet.
                fine = {"SUCCESS", "WARNING"} if name == CIMD else {"SUCCESS"}
                assert check["status"] in fine, f"{name}: {check['status']}: {check.get('errorMessage')}"
            assert consents == 1, f"the consent page was answered {consents} times"
        return ", ".join(f"{name}: {check['status'].lower()}" for name, check in told.items())

    return play


def with_person(command: list[str], seconds: float) -> int:
    """Runs the suite, and opens the authorization URL that it prints. Returns how often consent was given."""
    child = subprocess.Popen(command, cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    clock = threading.Timer(seconds, child.kill)
    clock.start()
    said, consents = [], 0
    try:
        for line in child.stdout:
            said.append(line)
            start = line.find("http")
            if "/authorize?" in line and start >= 0:
                consents += Browser().sign_in(line[start:].strip(), "Conformance").consents
        assert child.wait() == 0, f"exit {child.returncode}\n{''.join(said)[-3000:]}"
    finally:
        clock.cancel()
        child.kill()
    return consents


# revision → how many scenarios the suite runs, and how many checks succeed against the backend alone: fewer would be green
# while testing less. What fails there are extensions that the backend does not have (tasks, one JSON Schema dialect).
REVISIONS = {"2025-11-25": (33, 77), "2026-07-28": (50, 162)}
REBINDING = "server-dns-rebinding-protection"


def server(revision: str):
    def play(options, folder) -> str:
        with world(options.deputy, folder) as w:
            direct = serve(w, w.backend, revision, folder / "direct")
            through = serve(w, w.url, revision, folder / "through", token=w.token())
            compare(revision, direct, through)
            before = w.arrived()
            serve(w, w.url, revision, folder / "anonymous")
            reached = w.arrived() - before
            statuses = collections.Counter((folder / "anonymous.statuses").read_text().split())
            assert reached == 0, f"{reached} requests without a token reached the backend"
            # 403 and 421 answer a foreign Host or Origin, before anybody is asked for a token.
            assert statuses["401"] >= len(direct) and set(statuses) <= {"401", "403", "421"}, f"without a token: {dict(statuses)}"
        return f"{len(through)} scenarios, {good(through)} checks succeed, as direct; without a token {dict(statuses)}"

    return play


def serve(w: World, origin: str, revision: str, out: Path, token: str = "") -> dict[str, list[dict]]:
    """The suite's server mode. It has no option for a token, and exits with 1 when a scenario fails: both are ours to judge."""
    env = {
        "NODE_OPTIONS": f"--import {HERE / 'inject.mjs'}",
        "MCP_ORIGIN": origin,
        "MCP_TOKEN": token,
        "MCP_SUITE": str(SUITE),
        "MCP_STATUSES": f"{out}.statuses",
    }
    command = [NODE, str(SUITE), "server", "--url", f"{origin}/mcp", "--requirements", revision, "-o", str(out)]
    run(command, 180, env, codes=(0, 1))
    return results(out)


def good(scenarios: dict[str, list[dict]]) -> int:
    return sum(check["status"] == "SUCCESS" for checks in scenarios.values() for check in checks)


def outcome(checks: list[dict]) -> list[tuple[str, str]]:
    return [(check["id"], check["status"]) for check in checks]


def compare(revision: str, direct: dict, through: dict) -> None:
    ran = (len(direct), good(direct))
    assert ran == REVISIONS[revision], f"against the backend alone: {ran} scenarios and successes, not {REVISIONS[revision]}"
    assert set(direct) == set(through), f"scenarios differ: {sorted(set(direct) ^ set(through))}"
    different = []
    for scenario, alone in direct.items():
        gated = through[scenario]
        if scenario == REBINDING and all(check["status"] == "SUCCESS" for check in gated):
            continue  # the gateway may be better than its backend
        if outcome(alone) != outcome(gated):
            wrong = [f"{c['id']}: {c['status']}: {c.get('errorMessage')}" for c in gated if (c["id"], c["status"]) not in outcome(alone)]
            different.append(f"{scenario}: direct {outcome(alone)}\n  through {wrong or outcome(gated)}")
    assert not different, "\n".join([f"{len(different)} scenarios differ", *different])
