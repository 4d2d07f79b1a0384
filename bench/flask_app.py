"""A small service as many are written: Flask takes a script, starts a jailed interpreter, answers with what it says. For bench/run."""
import json
import subprocess

import flask

RUNNER = """
import contextlib, io, json, sys
names, out = {"__name__": "script"}, io.StringIO()
with contextlib.redirect_stdout(out):
    exec(compile(sys.stdin.read(), "script.py", "exec"), names)
    result = names["main"]()
print(json.dumps({"result": result, "stdout": out.getvalue().rstrip("\\n")}, separators=(",", ":")), end="")
"""


def service(jail):
    """gunicorn's application. jail: the command in front of the interpreter, as JSON."""
    app = flask.Flask("bench")
    command = [*json.loads(jail), "/usr/bin/python3", "-I", "-c", RUNNER]

    @app.post("/execute")
    def execute():
        script = flask.request.get_json()["script"]
        done = subprocess.run(command, input=script.encode(), capture_output=True, timeout=60, check=False)
        if done.returncode:
            return {"error": done.stderr.decode()[-500:]}, 400
        return flask.Response(done.stdout, content_type="application/json")

    return app
