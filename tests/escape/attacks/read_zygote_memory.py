"""Opens the memory of the zygote, which all runs are cloned from."""
CLASS = "reading what is not the script's"
RIGHT = "E"
STOPS = {"root": "no /proc", "landlock": "/proc is not shown", "namespaces": "no right over processes of another user namespace",
         "uid": "another user's process"}


def main(world):
    return attempt(lambda: open(f"/proc/{world['zygote']}/mem", "rb").close())
