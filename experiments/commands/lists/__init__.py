"""The commands that work on a localization list, a file each."""
