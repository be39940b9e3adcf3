"""Species of emitters in a run: what their light looks like behind one plate, and how frames of them are drawn.

A run's mask is a path at the microscope's wavelength; what is in the pupil plane is the plate that this path is at all
wavelengths (`plate_of`). One that is learned is drawn exactly in every step, with gradients to every height; one that
stays is drawn from a table for each species.
"""

from collections.abc import Sequence
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np

from optics import Psf, render_scenes
from optics.colour.plate import Plate, check_plate, liquid_crystal
from optics.colour.shipped import shipped_plates
from optics.colour.species import (
    Species,
    SpeciesPsf,
    sampled_for,
    species_fields,
    species_image_of,
    species_psf,
    tabulate_species,
)
from optics.colour.spectra import named_species
from optics.masks.dispersion import fused_silica, path_per_height
from optics.masks.fabrication import EtchedMask
from optics.psf import transmitted_fraction
from optics.psf_table import PsfTable, weights
from optics.pytree import pytree, replace
from optics.render import lay_stamps, stamp_place
from optics.types import Emitters, PhaseMask
from training.config import RunConfig
from training.settings import ConfigError

MOST = 4  # species of a run
_TOLERANCE = 3e-3  # of the tables of a run whose plate stays: an image's error is below the noise of 1e5 photons
_DEPTHS = 33  # at which the light outside the stamp is known
_WALLED_CELLS = 64  # a plate of walls with no more cells a side is sampled at two points a cell and more


@pytree
class SpeciesTables:
    """The images of S species behind a plate that stays, from tables: `missing` (S, Z) photons outside the stamp.

    Those of one photon, at depths evenly spaced over the tables' range.
    """

    tables: tuple[PsfTable, ...]
    missing: jax.Array
    pixel_um: jax.Array


Looks = tuple[SpeciesPsf, ...] | SpeciesTables


def check_species(run: RunConfig) -> None:
    """Refuse species that a run cannot have, or whose plate is not known (`ConfigError`), before any long work."""
    names = ", ".join(run.species)
    if not run.species:
        if run.shares or run.material:
            what = "shares" if run.shares else "material"
            raise ConfigError(f'{what} belongs to a run of several species; give species too, like ["580", "670"]')
        return
    if twice := sorted({name for name in run.species if run.species.count(name) > 1}):
        raise ConfigError(f"species = {names}: {twice[0]} is given twice; name each once")
    if not 2 <= len(run.species) <= MOST:
        raise ConfigError(f"species = {names}: give two to {MOST}, like 580,670")
    if run.shares and (len(run.shares) != len(run.species) or min(run.shares) <= 0):
        raise ConfigError(
            f"shares = {list(run.shares)} must be {len(run.species)} positive numbers, one for each species of {names}"
        )
    if run.decoder.kind != "list":
        raise ConfigError(f"decoder.kind = {run.decoder.kind!r} tells no species apart; set decoder.kind = 'list'")
    for name, given in (("scene.generator", run.scene.generator), ("psf.field", run.psf.field)):
        if given:
            raise ConfigError(f"{name} = {given!r} knows one wavelength; leave it out, or leave out species = {names}")
    if run.scene.stray != "even":
        raise ConfigError('scene.stray = "drawn" knows one wavelength; with species set scene.stray = "even"')
    made = run.mask.name == "designed" and run.mask.design in shipped_plates()
    if made and run.material not in ("", "silica"):
        raise ConfigError(f"mask.design = {run.mask.design!r} is etched in silica, not of material = {run.material!r}")
    if not (run.material or run.learn or made or run.mask.name == "flat"):
        raise ConfigError(
            f"mask {run.mask.name!r}: what it does to species = {names} depends on what it is made of; give "
            'run.material = "silica" (etched), "slm" or "mirror"'
        )


def run_species(run: RunConfig) -> tuple[Species, ...]:
    """The species of a run, none where it has but one colour. Raises `ConfigError` or `OpticsError`."""
    check_species(run)
    return tuple(named_species(text) for text in run.species)


def run_shares(run: RunConfig) -> jax.Array | None:
    """How often each species occurs, (S,) with the sum 1; None for a run of one colour."""
    if not run.species:
        return None
    shares = np.asarray(run.shares or (1.0,) * len(run.species))
    return jnp.asarray(shares / shares.sum())


def sampled_psf(run: RunConfig, psf: Psf, species: Sequence[Species]) -> Psf:
    """The PSF at samplings that suit all species, unless the run names its own; refuses a plate that is not known."""
    assert psf.mask is not None  # the PSF of a run always has one
    plate = plate_of(psf.mask, run.material or "silica")
    for one in species:
        check_plate(plate, one.wavelength_um)
        check_plate(psf.aberration, one.wavelength_um)
    if run.psf.pupil_px is not None:
        return psf
    cells = psf.mask.opd_um.shape[0]
    least = 2 * cells if psf.mask.wrapped and cells <= _WALLED_CELLS else 0
    psf = replace(psf, pupil_px=max(psf.pupil_px, least))
    depths = (run.scene.z_min_um, run.scene.z_max_um)
    return replace(sampled_for(replace(psf, mask=None), species, depths), mask=psf.mask)


def plate_of(mask: PhaseMask, material: str) -> Plate:
    """The plate that a mask's path is made into, as high as that, or modulo a wave on a panel. Traceable.

    A wrapped mask's cells have walls between them: their phasors are interpolated.
    """
    if material == "mirror":
        return mask
    with jax.ensure_compile_time_eval():  # its builder looks at the numbers
        dispersion = fused_silica() if material == "silica" else liquid_crystal()
    wave = mask.design_wavelength_um
    path = mask.opd_um if material == "silica" else jnp.mod(mask.opd_um, wave)
    return EtchedMask(
        height_um=path / path_per_height(dispersion, wave),
        level=jnp.full(path.shape, -1),
        transmission=mask.transmission,
        half_width=mask.half_width,
        design_wavelength_um=wave,
        dispersion=dispersion,
        wrapped=mask.wrapped or material == "slm",
    )


def species_looks(psf: Psf, species: Sequence[Species], material: str) -> tuple[SpeciesPsf, ...]:
    """The exact images of every species behind the plate that `psf.mask` is made into. Traceable."""
    assert psf.mask is not None
    plate = plate_of(psf.mask, material or "silica")
    return tuple(species_psf(replace(psf, mask=None), one, plate) for one in species)


def species_tables(looks: tuple[SpeciesPsf, ...], z_range_um: tuple[float, float], pixel_um: jax.Array) -> Looks:
    """Tables of exact images over a range of depths; emitters that all lie in one plane stay exact. A host function."""
    low, high = z_range_um
    if low == high:
        return looks
    tables = tuple(tabulate_species(psf, z_range_um, reach_px=0.75, tolerance=_TOLERANCE) for psf in looks)
    z = jnp.linspace(low, high, _DEPTHS)
    return SpeciesTables(tables, jnp.stack([_missing(psf, z) for psf in looks]), jnp.asarray(pixel_um))


@jax.jit
def _missing(psf: SpeciesPsf, z_um: jax.Array) -> jax.Array:
    """Photons of one that fall outside the stamp, at depths (Z,)."""
    fields = species_fields(psf)

    def at(z):
        passed = jax.vmap(lambda line, shared: transmitted_fraction(line, shared, z))(psf.lines, fields)
        return psf.weight @ passed - species_image_of(psf, fields, jnp.zeros(3, z.dtype).at[2].set(z)).sum()

    return jax.lax.map(at, z_um)


def render_species(
    looks: Looks, emitters: Emitters, shape: tuple[int, int], *, chunk: int = 64
) -> tuple[jax.Array, jax.Array]:
    """Frames (B, H, W) of emitters by their `channel`, and the photons outside their stamps (B,): as `render_scenes`.

    Leaves of `emitters` are (B, N, ...); `looks` are the exact images of every species, or their tables.
    """
    assert emitters.channel is not None, "scenes of several species say which each emitter is"
    if isinstance(looks, SpeciesTables):
        return jax.vmap(lambda one: _from_tables(looks, one, shape))(emitters)
    # the lines of all species in one loop: one program, however many there are
    lines = jax.tree.map(
        lambda *leaves: jnp.concatenate(leaves), *((psf.lines, psf.weight, psf.magnification) for psf in looks)
    )
    owner = jnp.concatenate([jnp.full(psf.weight.shape, number) for number, psf in enumerate(looks)])

    def of_line(part):
        number, (line, share, larger) = part
        # the pixel of a line is smaller by its magnification, and so are places in the sample
        scale = jnp.stack([larger, larger, jnp.ones_like(larger)])
        drawn = replace(
            emitters,
            xyz_um=emitters.xyz_um / scale,
            photons=emitters.photons * share,
            valid=emitters.valid & (emitters.channel == number),
            channel=None,
        )
        return render_scenes(cast(Psf, line), drawn, shape, chunk=chunk)

    frames, stray = jax.lax.map(of_line, (owner, lines))
    return frames.sum(axis=0), stray.sum(axis=0)


def _from_tables(looks: SpeciesTables, emitters: Emitters, shape: tuple[int, int]) -> tuple[jax.Array, jax.Array]:
    """One frame (H, W) of emitters (N, ...), and the photons outside their stamps."""
    side = looks.tables[0].image_px
    first, offset = stamp_place(emitters.xyz_um[:, :2], looks.pixel_um, side)
    at = jnp.concatenate([offset, emitters.xyz_um[:, 2:]], axis=1)
    light = jnp.where(emitters.valid, emitters.photons, 0.0)
    stamps, missing = jnp.zeros((light.size, side * side), light.dtype), jnp.zeros_like(light)
    for number, table in enumerate(looks.tables):
        share = jax.vmap(lambda point, table=table: weights(table, point, 1)[0])(at)
        own = jnp.where(emitters.channel == number, light, 0.0)
        stamps = stamps + own[:, None] * jnp.maximum(share @ table.pictures, 0.0)
        z = jnp.linspace(table.z_range_um[0], table.z_range_um[1], _DEPTHS)
        missing = missing + own * jnp.interp(at[:, 2], z, looks.missing[number])
    return lay_stamps(stamps.reshape(-1, side, side), first[:, ::-1], shape), missing.sum()
