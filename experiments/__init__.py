"""What Colocus does: a function each, for the command line and for notebooks; `import experiments` loads none of them.

>>> import experiments
>>> "crlb" in dir(experiments)
True
"""

import importlib
from typing import Any

# module of each name, loaded when the name is first asked for
_MODULES = {
    # read movies
    "localize": "reading.localize",
    "LocalizeConfig": "reading.localize",
    "ClassicalConfig": "reading.classical_config",
    "load_reader": "reading.readers",
    # know and shape the microscope
    "crlb": "instrument.crlb",
    "CrlbArm": "instrument.crlb_config",
    "CrlbConfig": "instrument.crlb_config",
    "NeighbourConfig": "instrument.crlb_config",
    "design": "instrument.design",
    "DesignConfig": "instrument.design_config",
    "fabricate": "instrument.fabricate",
    "FabricateConfig": "instrument.fabricate_config",
    "retrieve": "instrument.retrieve",
    "RetrieveConfig": "instrument.retrieve_config",
    "calibrate_camera": "instrument.calibrate_camera",
    "CalibrateConfig": "instrument.calibrate_camera",
    # work on lists
    "evaluate": "lists.evaluate",
    "EvaluateConfig": "lists.evaluate",
    "drift": "lists.drift",
    "DriftConfig": "lists.drift",
    "resolution": "lists.resolution",
    "ResolutionConfig": "lists.resolution",
    "track": "lists.track",
    "TrackConfig": "lists.track",
    "link": "lists.link",
    "LinkConfig": "lists.link",
    "filter_list": "lists.filter",
    "render": "lists.render",
    "RenderConfig": "lists.render",
    "convert": "lists.convert",
    "ConvertConfig": "lists.convert",
    # learn scenes
    "generate_fit": "generator.fit",
    "load_generator": "generator.fit",
    "generate_sample": "generator.sample",
    "SampleConfig": "generator.sample",
    # compare masks
    "compare_masks": "compare.run",
    "load_experiment": "compare.config",
    "ExperimentConfig": "compare.config",
    # settings and progress
    "load_camera": "settings",
    "load_settings": "settings",
    "presets": "settings",
    "Display": "progress",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'experiments' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"experiments.{_MODULES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted(_MODULES)
