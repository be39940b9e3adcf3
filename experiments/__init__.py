"""What Colocus does: a function each, for the command line and for notebooks; `import experiments` loads none of them.

>>> import experiments
>>> "crlb" in dir(experiments)
True
"""

import importlib
from typing import Any

# names by module, which is loaded when one of them is first asked for
_NAMES = {
    "reconstruction.job": "reconstruct",
    "reconstruction.plan": "Plan load_plan",
    "reading.localize": "localize read_frames LocalizeConfig",
    "reading.classical_config": "ClassicalConfig",
    "reading.readers": "load_reader",
    "instrument.crlb": "crlb",
    "instrument.crlb_config": "CrlbArm CrlbConfig NeighbourConfig",
    "instrument.design": "design",
    "instrument.design_config": "DesignConfig",
    "instrument.fabricate": "fabricate",
    "instrument.fabricate_config": "FabricateConfig",
    "instrument.retrieve": "retrieve",
    "instrument.retrieve_config": "RetrieveConfig",
    "instrument.calibrate_camera": "calibrate_camera CalibrateConfig",
    "lists.evaluate": "evaluate EvaluateConfig",
    "lists.drift": "drift DriftConfig",
    "lists.resolution": "resolution ResolutionConfig",
    "lists.track": "track TrackConfig",
    "lists.link": "link LinkConfig",
    "lists.filter": "filter_list",
    "lists.render": "render RenderConfig",
    "lists.convert": "convert ConvertConfig",
    "generator.fit": "generate_fit generator_config",
    "generator.sample": "generate_sample SampleConfig",
    "compare.run": "compare_masks evaluate_run",
    "compare.config": "load_experiment ExperimentConfig",
    "settings": "load_camera load_settings presets",
    "progress": "Display",
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'experiments' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"experiments.{_MODULES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted(_MODULES)
