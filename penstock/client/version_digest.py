"""The digest of a version, as the controller will find it: computed from the files before they are sent, so that it can be signed."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.client.uploads import LocalFile
from penstock.contracts.artefacts import Manifest, ManifestFile
from penstock.contracts.ensembles import ENSEMBLE_FILE, LARGEST_BYTES, says_ensemble
from penstock.contracts.errors import InvalidInput
from penstock.contracts.version_layout import plan_versions


def version_digest(files: Sequence[LocalFile]) -> str:
    """Return the digest of the one version that the files are.

    Raises:
        InvalidInput: they are none, or several.
    """
    by_name = {file.sent.name: file.sent for file in files}
    plans = plan_versions(by_name, [file.sent.name for file in files if _is_ensemble(file)])
    if len(plans) != 1:
        names = ", ".join(plan.name for plan in plans)[:80]
        raise InvalidInput(f"the folder holds several versions ({names}), and a signature is for one: name its folder", field="path")
    sent = [(path, by_name[name]) for path, name in plans[0].files.items()]
    return Manifest.of(ManifestFile(path=path, size=one.size, sha256=one.sha256) for path, one in sent).digest


def _is_ensemble(file: LocalFile) -> bool:
    is_named_so = file.sent.name.rpartition("/")[2] == ENSEMBLE_FILE and file.sent.size <= LARGEST_BYTES
    return is_named_so and says_ensemble(file.path.read_text("utf-8", "replace"))
