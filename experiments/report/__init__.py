"""What reports share: the page and the style of figures."""
