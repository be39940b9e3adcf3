"""Networks that read frames, behind one seam: `init` and `apply`."""

from nets.api import NetConfig, Variables, apply, count_parameters, init, input_channels, receptive_field_px
from nets.conv import conv2d
from nets.deepstorm2d import DeepStormConfig
from nets.errors import NetsError
from nets.inputs import network_input, normalise_frames, position_maps, with_neighbours
from nets.listnet import ListMaps, ListNetConfig
from nets.volumetric import LocalizationNetConfig, OpticsDesignNetConfig
from nets.weights import WEIGHT_SUFFIXES, load_deepstorm3d, variables_from_state_dict

__all__ = [
    "DeepStormConfig",
    "ListMaps",
    "ListNetConfig",
    "LocalizationNetConfig",
    "NetConfig",
    "NetsError",
    "OpticsDesignNetConfig",
    "WEIGHT_SUFFIXES",
    "Variables",
    "apply",
    "conv2d",
    "count_parameters",
    "init",
    "input_channels",
    "load_deepstorm3d",
    "network_input",
    "normalise_frames",
    "position_maps",
    "receptive_field_px",
    "variables_from_state_dict",
    "with_neighbours",
]
