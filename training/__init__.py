"""Scenes, losses, the compiled step and the loop around it: how decoder and mask are learned."""

from training.build import Parts, build
from training.checkpoint import CheckpointError
from training.codesign import fit, load_run
from training.config import CameraConfig, LearnConfig, MaskConfig, MicroscopeConfig, PsfConfig, RunConfig
from training.decode import (
    decode_frames,
    decode_images,
    density_image,
    make_decoder,
    maps_to_localizations,
    read_output,
)
from training.evaluate import emitters_to_localizations, evaluate
from training.instrument import build_camera
from training.run_folder import TimeLimit, load_config
from training.scenes import Frames, Scene, make_scene, sample_scene
from training.scenes import simulate as stream
from training.settings import ConfigError, from_dict, to_dict
from training.step import init_state, make_train_step

__all__ = [
    "CameraConfig",
    "CheckpointError",
    "ConfigError",
    "Frames",
    "LearnConfig",
    "MaskConfig",
    "MicroscopeConfig",
    "Parts",
    "PsfConfig",
    "RunConfig",
    "Scene",
    "TimeLimit",
    "build",
    "build_camera",
    "decode_frames",
    "decode_images",
    "density_image",
    "emitters_to_localizations",
    "evaluate",
    "fit",
    "from_dict",
    "init_state",
    "load_config",
    "load_run",
    "make_decoder",
    "make_scene",
    "make_train_step",
    "maps_to_localizations",
    "read_output",
    "sample_scene",
    "stream",
    "to_dict",
]
