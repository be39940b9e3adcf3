"""The kinds of decoder: a file each, with its network, loss, read-out and tiling, and one line in `KINDS`.

Whatever trains or reads looks a kind up here; nothing else knows how many there are.
"""

from training.decoders.blobs import BLOBS
from training.decoders.decoder import Decoder as Decoder
from training.decoders.decoder import ReadOut as ReadOut
from training.decoders.decoder import Tiling as Tiling
from training.decoders.image import IMAGE
from training.decoders.list import LIST
from training.decoders.list_readout import maps_to_localizations as maps_to_localizations
from training.decoders.volume import VOLUME
from training.settings import check_name

KINDS: dict[str, Decoder] = {"list": LIST, "volume": VOLUME, "blobs": BLOBS, "image": IMAGE}


def find_kind(kind: str) -> Decoder:
    """Return the decoder of that name; raises `ConfigError` naming the nearest one.

    >>> find_kind("image").label
    'Deep-STORM decoder'
    """
    check_name("decoder.kind", kind, KINDS)
    return KINDS[kind]
