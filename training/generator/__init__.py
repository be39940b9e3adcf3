"""The learned generator of scenes: fitted to the raw frames of a movie, a source of labelled frames for training.

`fit_generator` fits one, `load_generator` loads it, `generate` draws frames.
"""

from training.generator.config import GeneratorConfig
from training.generator.draw import DrawSettings, SceneGenerator, generate
from training.generator.files import load_generator
from training.generator.run import fit_generator

__all__ = ["DrawSettings", "GeneratorConfig", "SceneGenerator", "fit_generator", "generate", "load_generator"]
