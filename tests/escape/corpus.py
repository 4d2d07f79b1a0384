"""The corpus: one file per attack in attacks/, read and checked. README.md has the format."""
import ast
import pathlib
import types

HERE = pathlib.Path(__file__).resolve().parent
PRELUDE = (HERE / "prelude.py").read_text()

LAYERS = ("cgroup", "namespaces", "root", "identity", "rlimits", "landlock", "seccomp", "supervisor")
WALLS = (*LAYERS, "front", "uid")  # uid: a kernel uid of its own, which the identity layer gives where it can

CLASSES = (
    "forged result or status", "values that are not JSON", "CPU", "time", "memory", "processes", "disk and descriptors", "output",
    "reading what is not the script's", "writing what is not the script's", "other processes", "kernel surface", "network",
    "run to run", "the interpreter", "the API",
)

# What is right, and the statuses that a run of that kind may end with while all layers hold.
RIGHT = {
    "E": ("ok",),
    "N": ("ok",),
    "S": ("script_error", "contract_error"),
    "K": ("time_limit", "cpu_limit", "memory_limit", "output_limit", "process_limit", "disk_limit", "killed", "exited"),
    "R": (),
}


class Attack:
    def __init__(self, path):
        self.name = path.stem
        self.source = path.read_text()
        module = types.ModuleType(self.name)
        exec(compile(PRELUDE + self.source, str(path), "exec"), vars(module))
        get = vars(module).get
        self.about = ast.get_docstring(ast.parse(self.source)) or ""
        self.kind, self.right, self.stops = get("CLASS"), get("RIGHT"), get("STOPS")
        self.single = get("SINGLE")
        self.statuses = get("STATUS", RIGHT.get(self.right))
        self.options = get("OPTIONS", {})
        self.alone = get("ALONE", False)
        self.script = get("SCRIPT", PRELUDE + self.source)
        self.request, self.around = get("request"), get("around")

    def faults(self):
        """What is wrong with the file, as lines."""
        if not self.about:
            yield "says nothing of itself: no docstring"
        if self.kind not in CLASSES:
            yield f"CLASS is not one of {CLASSES}"
        if self.right not in RIGHT:
            yield f"RIGHT is not one of {tuple(RIGHT)}"
        if not isinstance(self.stops, dict) or not set(self.stops) <= set(WALLS):
            yield f"STOPS is not {{wall: why}} of {WALLS}"
        elif not self.stops and not self.request:
            yield "STOPS is empty: only a request (the API's class) has its walls outside the layers"
        if not (self.request or "def main" in self.script):
            yield "has neither main() nor request()"


def load():
    return {path.stem: Attack(path) for path in sorted((HERE / "attacks").glob("*.py"))}
