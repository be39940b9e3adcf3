"""`colocus crlb --species`: how well images tell colours apart, for one or several masks, before any reader is made."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from experiments.instrument.species_config import SpeciesConfig
from experiments.report.numbers import csv_text, plain
from experiments.report.plot_style import Figure, arm_styles, new_figure, save_png, styled
from optics.colour.bound import SpeciesBounds, species_bounds
from optics.colour.plate import Plate, liquid_crystal
from optics.colour.species import species_psfs, tabulate_species
from optics.colour.spectra import named_species
from optics.masks.dispersion import fused_silica
from optics.masks.fabrication import etch
from optics.progress import Event, Report, silent
from optics.types import PhaseMask
from optics.whole_file import write_text
from training import CameraConfig, MaskConfig, to_dict
from training.instrument import build_camera, build_mask, build_microscope, build_psf


@dataclasses.dataclass(frozen=True, eq=False)
class SpeciesResult:
    """The bounds between the species of a configuration, of every mask."""

    config: SpeciesConfig
    bounds: dict[str, SpeciesBounds]

    def _over_pairs(self, label: str, what: str) -> np.ndarray:
        """Mean over ordered pairs of species (Z, N), in %."""
        values = np.asarray(getattr(self.bounds[label], what), float)
        pairs = ~np.eye(len(values), dtype=bool)
        return 100 * values[pairs].mean(axis=0)

    def lines(self) -> list[str]:
        """Say per mask and depth what no reader exceeds and what the best is expected to reach."""
        config = self.config
        lines = [
            f"Share (%) of emitters whose species, {' or '.join(config.species)}, can be told; place, depth and light",
            "unknown. What no reader exceeds; in brackets what the best one reaches if its ratio is Gaussian.",
        ]
        width = max(12, max(map(len, self.bounds)) + 1)
        for label, bounds in self.bounds.items():
            limit, best = self._over_pairs(label, "limit"), self._over_pairs(label, "gaussian")
            head = "".join(f"{f'{photons:g} photons':>18}" for photons in config.photons)
            lines += ["", f"{label:<{width}}{'z (um)':>8}{head}"]
            rows = [(f"{z:.2f}", limit[i], best[i]) for i, z in enumerate(np.asarray(bounds.z_um))]
            for name, top, expected in [*rows, ("mean", limit.mean(axis=0), best.mean(axis=0))]:
                cells = "".join(f"{f'{a:.1f} ({b:.1f})':>18}" for a, b in zip(top, expected, strict=True))
                lines.append(f"{'':<{width}}{name:>8}{cells}")
        return lines

    def numbers(self) -> dict[str, Any]:
        """List distances, limits and rivals of every mask; pairs of species in the order of `species`."""
        arms = []
        for label, bounds in self.bounds.items():
            pairs = [
                {"species": own, "rival": other}
                | {
                    name: plain(np.asarray(getattr(bounds, name))[k, j], 6)
                    for name in ("distance", "limit", "gaussian")
                }
                | {"chernoff": plain(np.asarray(bounds.chernoff)[k, j], 6)}
                | {"rival_z_um": plain(np.asarray(bounds.rival)[k, j, ..., 2], 6)}
                for k, own in enumerate(self.config.species)
                for j, other in enumerate(self.config.species)
                if k != j
            ]
            arms.append({"label": label, "z_um": plain(np.asarray(bounds.z_um), 6), "pairs": pairs})
        return {"photons": list(self.config.photons), "arms": arms}

    def figure(self) -> Figure:
        """Draw what can be told through depth, a panel for each brightness: limits dotted, expectations solid."""
        styles = arm_styles([{"label": label, "learned": False} for label in self.bounds], next(iter(self.bounds)))
        with styled():
            figure = new_figure(3.2 * len(self.config.photons) + 1.6, 3.0)
            panels = figure.subplots(1, len(self.config.photons), squeeze=False, sharey=True)[0]
            for k, (axes, photons) in enumerate(zip(panels, self.config.photons, strict=True)):
                for label, bounds in self.bounds.items():
                    z, style = np.asarray(bounds.z_um), styles[label]
                    axes.plot(z, self._over_pairs(label, "gaussian")[:, k], label=label, **style)
                    limit = self._over_pairs(label, "limit")[:, k]
                    axes.plot(z, limit, color=style["color"], linestyle=":", linewidth=1)
                axes.set_title(f"{photons:g} photons")
                axes.set_xlabel("z (µm)")
                axes.set_ylim(48, 102)
            panels[0].set_ylabel("species told (%)")
            panels[-1].legend(loc="center left", bbox_to_anchor=(1.02, 0.5), fontsize=8)
        return figure

    def write(self, out: Path) -> list[Path]:
        """Write config.json, species.csv (a row per mask, pair, depth and brightness), species.json, species.png."""
        picture, table, numbers = (out / name for name in ("species.png", "species.csv", "species.json"))
        write_text(out / "config.json", json.dumps(to_dict(self.config), indent=2) + "\n")
        write_text(numbers, json.dumps(self.numbers(), indent=1) + "\n")
        rows = [
            [arm["label"], pair["species"], pair["rival"], z, photons, pair["distance"][i][k], pair["limit"][i][k],
             pair["gaussian"][i][k], pair["rival_z_um"][i][k]]
            for arm in self.numbers()["arms"]
            for pair in arm["pairs"]
            for i, z in enumerate(arm["z_um"])
            for k, photons in enumerate(self.config.photons)
        ]  # fmt: skip
        head = ["mask", "species", "rival", "z_um", "photons", "bhattacharyya", "limit", "gaussian", "rival_z_um"]
        write_text(table, csv_text(head, rows))
        save_png(self.figure(), picture)
        return [picture, table, numbers]


def plate_of(mask: PhaseMask, material: str) -> Plate:
    """The plate that a mask is made into. Raises `OpticsError` for a wrapped one on a mirror at other wavelengths."""
    if material == "mirror":
        return mask
    return etch(mask, fused_silica() if material == "silica" else liquid_crystal(), wrap=material == "slm" or None)


def species(config: SpeciesConfig = SpeciesConfig(), report: Report = silent) -> SpeciesResult:
    """Compute the bounds between species behind every mask. Raises `ConfigError` or `OpticsError` before long work.

    >>> species(SpeciesConfig(species=("580", "purple")))
    Traceback (most recent call last):
    optics.types.OpticsError: species 'purple' is none of green, orange, red, far_red; or give nanometres (580) ...
    """
    kinds = [named_species(text, lines=config.lines) for text in config.species]
    camera = None if config.camera == CameraConfig() else build_camera(config.camera)
    z_range_um = (config.z_min_um, config.z_max_um)
    scope = build_microscope(config.microscope)
    clear = dataclasses.replace(build_psf(config.microscope, config.psf, MaskConfig("flat"), z_range_um), mask=None)
    plates = {arm.label: plate_of(build_mask(arm.mask, scope), config.material) for arm in config.arms}
    psfs = {label: species_psfs(clear, kinds, plate, z_range_um=z_range_um) for label, plate in plates.items()}
    found = {}
    for done, (label, several) in enumerate(psfs.items()):
        report(Event(f"{label}, bounds between species:", done, len(psfs)))
        tables = [tabulate_species(psf, z_range_um) for psf in several]
        z = np.linspace(*z_range_um, config.depths)
        found[label] = species_bounds(tables, z, config.photons, config.background, camera)
    return SpeciesResult(config, found)
