"""Runs methods of the official Python package for python.test.mjs.

One JSON object a line comes in: {"method": "trigger", "args": [...], "kwargs": {...}}. One goes out: {"result": ...}, or
{"error": {"type": ..., "text": ...}} when the package raised. The first line has the arguments of `pusher.Pusher`.
"""

import json
import sys

import pusher


def text(value):
    """What JSON does not know: the package hands out some values as bytes."""
    if isinstance(value, bytes):
        return value.decode("ascii")
    raise TypeError(f"{value!r} is no JSON")


def main():
    client = pusher.Pusher(**json.loads(sys.stdin.readline()))
    for line in sys.stdin:
        call = json.loads(line)
        try:
            result = getattr(client, call["method"])(*call.get("args", []), **call.get("kwargs", {}))
            answer = {"result": result}
        except Exception as error:  # whatever the package raises is what the test wants to see
            answer = {"error": {"type": type(error).__name__, "text": str(error)}}
        print(json.dumps(answer, default=text), flush=True)


if __name__ == "__main__":
    main()
