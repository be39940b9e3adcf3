"""Patches of a movie and what is in them: density, signal to noise, spot width, and how hard they are to read."""

from localization.patches.features import PatchFeatures, patch_features
from localization.patches.layout import Patches, cut_patches
from localization.patches.levels import difficulty_level, notebook_level

__all__ = ["PatchFeatures", "Patches", "cut_patches", "difficulty_level", "notebook_level", "patch_features"]
