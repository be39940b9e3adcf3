"""Networks that read frames, behind one seam: `init` and `apply`."""

from nets.api import NetConfig, Variables, apply, count_parameters, init, receptive_field_px
from nets.conv import conv2d
from nets.errors import NetsError
from nets.listnet import ListMaps, ListNetConfig
from nets.volumetric import LocalizationNetConfig, OpticsDesignNetConfig
from nets.weights import load_deepstorm3d, variables_from_state_dict

__all__ = [
    "ListMaps",
    "ListNetConfig",
    "LocalizationNetConfig",
    "NetConfig",
    "NetsError",
    "OpticsDesignNetConfig",
    "Variables",
    "apply",
    "conv2d",
    "count_parameters",
    "init",
    "load_deepstorm3d",
    "receptive_field_px",
    "variables_from_state_dict",
]
