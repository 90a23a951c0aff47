"""Which version of a schema's features a stream's vectors should be by now: a worker of another one is started anew.

Nothing of a user's scripts is run here.
"""

from __future__ import annotations

import hashlib

import msgspec

from lit.features.library import read_feature, script_files
from lit.features.schema import load_schema
from lit.processors.job import features_version
from lit.processors.progress import last_complete
from lit.streams.errors import UserError
from lit.streams.workspace import Workspace


def wanted_version(workspace: Workspace, schema: str) -> str:
    """Return what changes with the features that a worker would begin with now.

    They are those of the schema's last complete build (another build of the same ones changes nothing), or of one that
    was never built, its files as they are.
    """
    try:
        job = last_complete(workspace, schema)
        if job is not None:
            return features_version(job.schema.resolution, job.features)
        return _digest(workspace, schema)
    except (UserError, OSError, msgspec.MsgspecError) as error:
        return str(error)  # a worker would end with it; once it is another one, or none, it is worth another try


def _digest(workspace: Workspace, schema: str) -> str:
    found, scripts = load_schema(workspace, schema), script_files(workspace)
    features = [read_feature(workspace, name) for name in found.features]
    sources = [scripts[one["script"]][1].read_text("utf-8") for one in features if one["script"] in scripts]
    parts = [found.resolution, features, sources]
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:16]
