"""The corpus: one file per attack in attacks/, read and checked. README.md has the format."""
import ast
import pathlib
import re
import types

HERE = pathlib.Path(__file__).resolve().parent
PRELUDE = (HERE / "prelude.py").read_text()

LAYERS = ("cgroup", "namespaces", "root", "identity", "rlimits", "landlock", "seccomp", "supervisor")
# Not layers, but walls: the front's checks, caps and deadline; what the supervisor saw itself of a run's end; a kernel uid of its
# own, which the identity layer gives where it can; the filter that lets no process be made where nothing counts and ends them as one.
WALLS = (*LAYERS, "front", "facts", "uid", "forks")

CLASSES = (
    "forged result or status", "values that are not JSON", "CPU", "time", "memory", "memory in no address space", "processes",
    "processes that outlive their run", "disk", "files without a name, or with holes", "descriptors", "output",
    "reading what is not the script's", "names, sizes and times of files", "writing what is not the script's", "other processes",
    "kernel surface", "kernel interfaces that take no privilege", "network", "network: all but TCP and abstract sockets",
    "network: families of no namespace", "run to run", "run to run: the shared network", "run to run: locks and watches",
    "the interpreter", "the API",
)

# Here a wall may be code that cannot be left out (a parser, the interpreter): STOPS may be empty.
IN_CODE = ("forged result or status", "values that are not JSON", "the interpreter", "the API")

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
        # What several attacks share is in a file of its own, `# with _report.py` in the first line.
        shared = re.match(r"# with (_\w+\.py)\n", self.source)
        script = PRELUDE + ((path.parent / shared[1]).read_text() if shared else "") + self.source
        exec(compile(script, str(path), "exec"), vars(module))
        get = vars(module).get
        self.about = ast.get_docstring(ast.parse(self.source)) or ""
        self.kind, self.right, self.stops = get("CLASS"), get("RIGHT"), get("STOPS")
        self.single = get("SINGLE")
        self.statuses = get("STATUS", RIGHT.get(self.right))
        self.options = get("OPTIONS", {})
        self.alone = get("ALONE", False)
        self.script = get("SCRIPT", script)
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
        elif not self.stops and self.right != "N" and self.kind not in IN_CODE:
            yield f"STOPS is empty: that is for {IN_CODE}, and where nothing has to happen"
        if not (self.request or "def main" in self.script):
            yield "has neither main() nor request()"


def load():
    return {path.stem: Attack(path) for path in sorted((HERE / "attacks").glob("[!_]*.py"))}
