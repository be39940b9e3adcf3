"""Networks that read frames, behind one seam: `init` and `apply`."""

# the seam, and what a configuration answers
from nets.api import NetConfig as NetConfig
from nets.api import Variables as Variables
from nets.api import apply as apply
from nets.api import count_parameters as count_parameters
from nets.api import init as init
from nets.api import input_channels as input_channels
from nets.api import network_input as network_input
from nets.api import normalise_frames as normalise_frames
from nets.api import receptive_field_px as receptive_field_px
from nets.api import with_neighbours as with_neighbours

# layers
from nets.conv import conv2d as conv2d

# networks
from nets.deepstorm2d import DeepStormConfig as DeepStormConfig
from nets.errors import NetsError as NetsError
from nets.listnet import ListMaps as ListMaps
from nets.listnet import ListNetConfig as ListNetConfig
from nets.listnet import position_maps as position_maps
from nets.volumetric import LocalizationNetConfig as LocalizationNetConfig
from nets.volumetric import OpticsDesignNetConfig as OpticsDesignNetConfig

# published weights
from nets.weights import WEIGHT_SUFFIXES as WEIGHT_SUFFIXES
from nets.weights import load_deepstorm3d as load_deepstorm3d
from nets.weights import variables_from_state_dict as variables_from_state_dict
