"""Scenes, losses, the compiled step and the loop around it: how decoder and mask are learned."""
# ruff: isort: skip_file

# settings of a run
from training.config import CameraConfig as CameraConfig, LearnConfig as LearnConfig, MaskConfig as MaskConfig
from training.config import MicroscopeConfig as MicroscopeConfig, PsfConfig as PsfConfig, RunConfig as RunConfig
from training.settings import ConfigError as ConfigError, from_dict as from_dict, to_dict as to_dict

# from settings to objects, to the compiled step, to a run's folder
from training.build import Parts as Parts, build as build
from training.instrument import build_camera as build_camera
from training.step import init_state as init_state, make_train_step as make_train_step
from training.codesign import fit as fit
from training.run_folder import TimeLimit as TimeLimit, load_config as load_config
from training.checkpoint import CheckpointError as CheckpointError

# a trained run read back
from training.trained import Trained as Trained, load_run as load_run, load_trained as load_trained

# decoders: kinds, outputs, lists, scores
from training.decoders import KINDS as KINDS, Decoder as Decoder
from training.decoders import maps_to_localizations as maps_to_localizations
from training.decode import decode_frames as decode_frames, decode_images as decode_images
from training.decode import make_decoder as make_decoder, read_output as read_output
from training.evaluate import emitters_to_localizations as emitters_to_localizations, evaluate as evaluate

# simulated frames
from training.scenes import Frames as Frames, Scene as Scene, make_scene as make_scene, sample_scene as sample_scene
from training.scenes import simulate as stream  # noqa: F401  (its public name)

# the learned generator of scenes
from training.generator import DrawSettings as DrawSettings, fit_generator as fit_generator
from training.generator import generate as generate, load_generator as load_generator
