"""Climbs out of its working directory, by a path and step by step."""
CLASS = "reading what is not the script's"
RIGHT = "E"
STOPS = {"root": "no such path in its tree", "landlock": "not among the shown paths"}


def main(world):
    climbing = attempt(lambda: open("../" * 40 + world["secret"].lstrip("/")).read())
    for _ in range(40):
        os.chdir("..")
    return any_of({"path": climbing, "steps": attempt(lambda: open(world["secret"].lstrip("/")).read())})
