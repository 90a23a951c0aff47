"""A vault item as a folder that predicts with Keras alone, on a machine that has never heard of LIT."""

from __future__ import annotations

import shutil
from importlib import metadata
from pathlib import Path

from lit.streams.errors import UserError
from lit.streams.workspace import Workspace
from lit.trainer import vault
from lit.trainer.canvas import parse_canvas
from lit.trainer.component import read_component
from lit.trainer.script import as_script
from lit.trainer.vault import VaultItem

_PROGRAM = '''"""Predicts with the model of this folder. Needs Keras, TensorFlow and NumPy (requirements.txt), no more.

As a program: `python predict.py samples.npz predictions.npy`, where samples.npz has one array a feature (README.md).
"""

import json
import sys
from pathlib import Path

$IMPORT$
import numpy as np

FOLDER = Path(__file__).resolve().parent
FEATURES = json.loads((FOLDER / "item.json").read_text("utf-8"))["inputs"]
$MODEL$


def predict(samples):
    """Return float32 (n, outputs) for a mapping of feature name to array (n, *shape)."""
    values = []
    for feature in FEATURES:
        value = np.asarray(samples[feature["name"]], np.float32)
        if list(value.shape[1:]) != feature["shape"]:
            raise SystemExit(f"{feature['name']} has the shape {value.shape}; each sample must be {feature['shape']}")
        values.append(value)
    return MODEL.predict(values if len(values) > 1 else values[0], verbose=0)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    with np.load(sys.argv[1]) as given:
        np.save(sys.argv[2], predict(given))
'''


_AS_FILE = {
    "$IMPORT$": "import keras",
    "$MODEL$": 'MODEL = keras.models.load_model(FOLDER / "model.h5", compile=False)',
}
#: With layers of the team's own, the model is built by its canvas' program, and takes only weights from the file.
_AS_PROGRAM = {
    "$IMPORT$": "import model",
    "$MODEL$": 'MODEL, _ = model.build()\nMODEL.load_weights(FOLDER / "model.h5")',
}


def export_item(workspace: Workspace, name: str, folder: Path) -> None:
    """Write model, description, program and requirements of a vault item into a new folder.

    Raises
    ------
    UserError
        If there is no such item, or the folder exists.
    """
    item = vault.load(workspace, name)
    if folder.exists():
        raise UserError(f"folder {str(folder)!r} exists: choose another, or move it away")
    draft = folder.with_name(f".draft.{folder.name}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    shutil.copyfile(item.model, draft / "model.h5")
    for other in ("item.json", *item.files):
        shutil.copyfile(item.path / other, draft / other)
    text = _PROGRAM
    for mark, code in (_AS_PROGRAM if item.own_layers else _AS_FILE).items():
        text = text.replace(mark, code)
    (draft / "predict.py").write_text(text, "utf-8")
    if item.own_layers:
        (draft / "model.py").write_text(program_of(item), "utf-8")
    (draft / "requirements.txt").write_text(_requirements(), "utf-8")
    (draft / "README.md").write_text(_readme(item), "utf-8")
    draft.replace(folder)


def program_of(item: VaultItem) -> str:
    """Return the program that builds an item's model from its canvas and component sources."""
    canvas, sources = item.lineage.get("canvas"), item.lineage.get("components")
    if not canvas or not sources:
        raise UserError(
            f"vault item {item.name!r} is of a program and has layers of its own ({', '.join(item.own_layers)}): "
            "save and load its model in a program of your own, where these are defined"
        )
    components = {name: read_component(name, source) for name, source in sources.items()}
    specs = {spec.name: spec for spec in (*item.inputs, item.label)}
    return as_script(parse_canvas(canvas), components, specs)


def _requirements() -> str:
    return "".join(f"{name}=={metadata.version(name)}\n" for name in ("keras", "tensorflow", "numpy"))


def _readme(item: VaultItem) -> str:
    features = "\n".join(
        f"| {spec.name} | {' × '.join(map(str, spec.shape))} | {', '.join(spec.columns)} |" for spec in item.inputs
    )
    metrics = "\n".join(f"| {name} | {value:.6g} |" for name, value in item.metrics.items())
    more = " `model.py` builds the model, with layers of the team's own." if item.own_layers else ""
    return f"""# {item.name}

Epoch {item.epoch} of run {item.project}/{item.run}. It predicts {item.label.name} ({", ".join(item.label.columns)}).

```
python -m pip install -r requirements.txt
python predict.py samples.npz predictions.npy
```

`samples.npz` has an array for each feature, float32, samples along the first axis:

| feature | shape of a sample | columns |
|---|---|---|
{features}

The model takes them as they are: whatever scaling it needs is in it. Files: `model.h5` ({item.digest}), `item.json`
(where the model came from: data, features, design), `predict.py`.{more}
{f"{chr(10)}{item.notes}{chr(10)}" if item.notes else ""}
| metric of the epoch | |
|---|---|
{metrics}
"""
