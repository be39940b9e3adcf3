"""What a retrieval found besides the pupil, and what its beads cannot tell: sentences for the report."""

import jax.numpy as jnp
import numpy as np

from optics.psf import depth_um, pupil_fields
from optics.retrieval.types import Retrieval
from optics.types import Psf

_TWIN = 1.5  # the directions of the stage are told apart when one leaves so many times more unexplained
_BLEACHED = 0.1  # a fall of the signal along the scan that is worth a sentence


def super_critical_share(psf: Psf, z_um: float) -> float:
    """Part of a bead's detected light that passes the pupil beyond the critical angle of the sample."""
    shared = pupil_fields(psf)
    z = depth_um(psf.microscope, jnp.asarray(z_um))
    light = np.asarray(shared.light * jnp.exp(-2 * shared.kz_sample_rad_um.imag * z))
    return float(light[np.asarray(shared.kz_sample_rad_um.imag) > 0].sum() / light.sum())


def findings(retrieval: Retrieval) -> list[str]:
    """Sentences: first what was found out of the ordinary, then what the images leave open."""
    found = []
    for index, bead in enumerate(retrieval.beads):
        name = "The bead" if len(retrieval.beads) == 1 else f"Bead {index}"
        signal = bead.signal_adu
        slope = np.polyfit(np.linspace(-0.5, 0.5, len(signal)), signal / signal.mean(), 1)[0]
        if abs(slope) > _BLEACHED:
            change = "lost" if slope < 0 else "gained"
            found.append(f"{name} {change} {100 * abs(slope):.0f} % of its light from the first to the last slice.")
        walk_um = float(np.hypot(*bead.tilt))
        if walk_um > 0.01:
            found.append(
                f"{name} walks {1000 * walk_um:.0f} nm sideways per um of focus: the stage or the axis is tilted."
            )
        if bead.noise.model_error > 0.02:
            found.append(
                f"{name}: beyond noise the model misses {100 * bead.noise.model_error:.1f} % of the light "
                "of a bright pixel."
            )
    if abs(retrieval.step_error) > 0.005:
        found.append(
            f"Stage steps fit best {100 * retrieval.step_error:+.1f} % from those stated; an NA or an index that is "
            "slightly off looks the same."
        )
    ratio = retrieval.twin_misfit / max(_found(retrieval), 1e-12)
    if ratio < 1 / _TWIN:
        found.append(
            "WARNING: the images fit far better with the focus reversed. Check the sign of START:STOP "
            "(focus_um grows into the sample)."
        )
    open_ = [
        "Not determined by beads: the phase's mean (piston); its ramp, which moves the bead (tilt: set so that the "
        "light's centroid lies on the emitter); and a focus step in the pupil, which moves the stage's zero "
        "(defocus: given as the bead's focus offset).",
        "The bead's size and the PSF's own blur add up: the blur holds for the bead diameter that was given.",
    ]
    if ratio < _TWIN:
        open_.append(
            f"The direction of the stage: the reversed focus with the twin phase -phase(-k) leaves {ratio:.2f} times "
            "as much unexplained. Where the sign of the focus is wrong, the phase is the twin."
        )
    else:
        open_.append(
            f"The direction of the stage: reversed, a short descent from the twin phase leaves {ratio:.1f} times as "
            "much unexplained, which speaks for START:STOP as given. For proof retrieve again with the focus reversed: "
            "the right direction ends with the lower misfit."
        )
    if retrieval.super_critical_share > 0:
        open_.append(
            f"The ring beyond the critical angle carries {100 * retrieval.super_critical_share:.1f} % of the bead's "
            "light on the coverslip and less of a deeper emitter's; its phase rests on that alone."
        )
    return found + open_


def _found(retrieval: Retrieval) -> float:
    """The unexplained part at the end of the first stage, to which the twin's is compared."""
    return [misfit for stage, _, _, misfit in retrieval.history if stage == "find"][-1]
