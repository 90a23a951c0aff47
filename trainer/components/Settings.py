"""What the canvas is for: its project, and the asset that it trains on.

Parameters
----------
project : project
    The project that runs of this canvas belong to
asset : asset
    The asset to train on, by the name of its schema
"""

ROLE = "settings"


def make_component(name, inputs, project, asset):
    return {"project": project, "asset": asset}
