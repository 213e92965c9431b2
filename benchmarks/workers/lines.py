"""A worker's side of the conversation: one JSON object a line, each answered by one."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

Answer = dict[str, Any]


def serve(commands: dict[str, Callable[..., Answer]]) -> None:
    """Answer `{"do": NAME, **arguments}` until stdin ends. An error is an answer too."""
    answers = sys.stdout
    sys.stdout = sys.stderr  # whatever a library prints must not pass for an answer
    for line in sys.stdin:
        question = json.loads(line)
        try:
            answer = commands[question.pop("do")](**question)
        except Exception as error:  # the harness names it as a gap and goes on
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
