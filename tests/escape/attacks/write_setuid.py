"""Makes a set-id file on a file system that honours the bit."""
CLASS = "writing what is not the script's"
RIGHT = "E"
STOPS = {"seccomp": "no set-id bits", "root": "its file system is mounted nosuid"}


def main(world):
    def make():
        open("program", "w").close()
        os.chmod("program", 0o4755)
        return os.stat("program").st_mode & 0o4000 and not os.statvfs(".").f_flag & os.ST_NOSUID or os.stat("/nowhere")
    return attempt(make)
