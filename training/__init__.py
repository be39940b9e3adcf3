"""Scenes, losses, the compiled step and the loop around it: how decoder and mask are learned."""

# a run: its settings, its parts, its training
from training.build import Parts as Parts
from training.build import build as build
from training.checkpoint import CheckpointError as CheckpointError

# training
from training.codesign import fit as fit
from training.codesign import load_run as load_run
from training.config import CameraConfig as CameraConfig
from training.config import LearnConfig as LearnConfig
from training.config import MaskConfig as MaskConfig
from training.config import MicroscopeConfig as MicroscopeConfig
from training.config import PsfConfig as PsfConfig
from training.config import RunConfig as RunConfig

# decoders: kinds, outputs, lists
from training.decode import decode_frames as decode_frames
from training.decode import decode_images as decode_images
from training.decode import make_decoder as make_decoder
from training.decode import read_output as read_output
from training.decoders import KINDS as KINDS
from training.decoders import Decoder as Decoder
from training.decoders import maps_to_localizations as maps_to_localizations

# scores
from training.evaluate import emitters_to_localizations as emitters_to_localizations
from training.evaluate import evaluate as evaluate
from training.instrument import build_camera as build_camera
from training.run_folder import TimeLimit as TimeLimit
from training.run_folder import load_config as load_config

# simulated frames
from training.scenes import Frames as Frames
from training.scenes import Scene as Scene
from training.scenes import make_scene as make_scene
from training.scenes import sample_scene as sample_scene
from training.scenes import simulate as stream  # noqa: F401  (its public name)
from training.settings import ConfigError as ConfigError
from training.settings import from_dict as from_dict
from training.settings import to_dict as to_dict
from training.step import init_state as init_state
from training.step import make_train_step as make_train_step

# a trained run
from training.trained import Trained as Trained
from training.trained import load_trained as load_trained
