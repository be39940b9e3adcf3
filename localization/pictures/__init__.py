"""Pictures from lists: `render_image`, `resolution`, `line_profile`; of any picture `decorrelation` and `likeness`."""
