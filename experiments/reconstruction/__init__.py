"""From a raw movie to a super-resolved picture: one job of named steps, with the plan that drives it and its report."""
