"""The steps of a reconstruction in their order, and the question that each answers; without what does the work."""

QUESTIONS = {
    "look": "What kind of movie is this?",
    "camera": "How many counts does a photon make?",
    "background": "How much light is no molecule's?",
    "psf": "What does one molecule look like?",
    "crowd": "How many molecules are there, how bright, and do they touch?",
    "reader": "Which method reads the frames?",
    "decoder": "Is a network trained for this movie?",
    "test": "A few frames first: what is found, and how long will the rest take?",
    "frames": "All frames",
    "drift": "Did the stage drift?",
    "filters": "Which rows are kept?",
    "picture": "The picture",
}


def step_folder(name: str) -> str:
    """Return the name of a step's folder in a run.

    >>> step_folder("camera")
    '02-camera'
    """
    return f"{list(QUESTIONS).index(name) + 1:02d}-{name}"
