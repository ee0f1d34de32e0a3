"""The parts: name → function(options, folder) → what it saw, in a line. A failure is an AssertionError with the reason."""

from . import attack, chromium, clients, documents, second, suite

PARTS = {
    **{f"clients:{name}": clients.part(name) for name in clients.CLIENTS},
    **documents.PARTS,
    "second:provider": second.provider,
    "second:mix-up": second.mix_up,
    **{f"authorization:{version}": suite.authorization(version) for version in suite.AUTHORIZATION},
    **{f"server:{revision}": suite.server(revision) for revision in suite.REVISIONS},
    **{f"inspector:{line}": chromium.inspector(line) for line in chromium.INSPECTORS},
    "pages": chromium.pages,
    "attack:guarded": attack.guarded,
    **{f"attack:without-{guard}": attack.unguarded(guard) for guard in attack.ATTACKS},
}
