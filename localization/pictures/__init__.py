"""Pictures from lists: `render_image`, `resolution`, `line_profile`."""
