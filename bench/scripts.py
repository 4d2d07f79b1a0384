"""The scripts that are measured, and what they answer."""

HELLO = 'def main():\n    print("hello world")\n    return {"message": "done"}\n'
HELLO_ANSWER = '{"result":{"message":"done"},"stdout":"hello world"}'

DATA = """import numpy
import pandas

def main():
    frame = pandas.DataFrame({"key": ["a", "b", "c", "d"] * 25, "value": numpy.arange(100)})
    sums = frame.groupby("key")["value"].sum()
    return {key: int(value) for key, value in sums.items()}
"""
DATA_ANSWER = '{"result":{"a":1200,"b":1225,"c":1250,"d":1275},"stdout":""}'

SLEEPER = "import time\n\ndef main():\n    time.sleep(3600)\n    return {}\n"

# What a neighbour can do: each ends at a limit of its own.
BOMBS = {
    "fork": "import os\n\ndef main():\n    while True:\n        os.fork()\n",
    "memory": "def main():\n    held = []\n    while True:\n        held.append(bytearray(1 << 20))\n",
    "output": "def main():\n    while True:\n        print('x' * 1000)\n",
    "spin": "def main():\n    while True:\n        pass\n",
}

# The interpreter alone runs the same text: what a shell would do with it, and no more.
BARE_TAIL = "\nprint(main())\n"
HELLO_BARE_ANSWER = "hello world\n{'message': 'done'}\n"
DATA_BARE_ANSWER = "{'a': 1200, 'b': 1225, 'c': 1250, 'd': 1275}\n"
