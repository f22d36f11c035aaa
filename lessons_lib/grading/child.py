"""The process that runs a student's code: ``python -P -m lessons_lib.grading.child``.

It reads one job, a line of JSON, from its standard input and answers on its standard output with
lines of JSON. Nothing else reaches that stream: what the code prints goes nowhere, and each line
begins with a random word of the job, without which it does not count.

A job "run" is a student's notebook, cell by cell, as "Run all" would. A job "score" is the
lesson's notebook with a student's answers in it: for each exercise, the statements that its
function depends on run (see `needed`), those of the lesson and those of the answer, and then the
checks of the installed library, never what the notebook has for them.

The checks run beside the student's function, for they need its gradients and call it a hundred
times. So what is stopped is what careless and simple cheating does: a changed check, a redefined
`check`, results printed by hand, results written into the stream, checks or PyTorch's functions
replaced by others (they are compared with what they were). Who studies this file and writes code
against it can still cheat, and so can who copies an answer.
"""

import ast
import importlib
import json
import linecache
import os
import re
import sys
import time
import traceback
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

Send = Callable[..., None]


def main() -> None:
    """Do the job that stands in standard input."""
    job = json.loads(sys.stdin.readline())
    send = _sender(job.pop("token"))
    folder = Path(job["folder"])
    from lessons_lib.grading import confinement

    # All that is heavy comes before the guard, and before limits that are not its own.
    if job["kind"] == "score":
        known = exercises_of(job["lesson"])
    else:
        import IPython.core.interactiveshell  # noqa: F401
    if job["guard"]:
        confinement.guard(folder)
    confinement.limit(job["memory"], job["cpu"])
    sys.path.append(str(folder))  # last: a student's torch.py is not PyTorch
    send("ready")
    if job["kind"] == "run":
        _run(job["cells"], send)
    else:
        _score(job, known, send)
    send("done")
    os._exit(0)  # threads and exit handlers of the student's have no more to say


def _sender(token: str) -> Send:
    """Keep the stream for this program: what others write to standard output goes nowhere."""
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)

    def send(event: str, **more: Any) -> None:
        stream.write(f"{token} {json.dumps({'event': event, **more})}\n")
        stream.flush()

    return send


def exercises_of(lesson: str) -> dict[str, Any]:
    """The exercises of a lesson by name; other lessons' modules are not loaded."""
    from lessons_lib.exercises.core import Exercise

    module = importlib.import_module(f"lessons_lib.exercises.lesson_{lesson}")
    return {one.name: one for one in vars(module).values() if isinstance(one, Exercise)}


# --- A notebook as it was handed in --------------------------------------------------------------


def _run(cells: list[str], send: Send) -> None:
    """Run cells until one fails; their positions are those of the notebook, "" where no code is."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    class Shell(InteractiveShell):
        """A shell without windows."""

        def enable_gui(self, gui: Any = None) -> None:
            """Nothing to do: figures go into the notebook, and that goes nowhere."""

    settings = Config()
    settings.HistoryManager.enabled = False
    shell = Shell.instance(config=settings)
    for number, source in enumerate(cells):
        if not source.strip():
            continue
        send("cell", number=number)
        result = shell.run_cell(source, store_history=False)
        error = result.error_before_exec or result.error_in_exec
        if error is not None:
            send("stopped", number=number, error=_in_words(error))
            return


# --- A student's answers in the lesson's notebook ------------------------------------------------


def _score(job: dict[str, Any], known: dict[str, Any], send: Send) -> None:
    """Score the exercises of a job that are not settled yet.

    The cells of a job are dicts: "source", "own" (whether the student added it) and "answers", the
    name of the exercise that it answers, or None. The exercises are dicts: "name", "function" and
    "settled", whether their verdicts are known.
    """
    from lessons_lib.grading.needed import Statement, needed_for

    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    names = vars(module)
    stream: list[Statement] = []
    errors: dict[str, str] = {}
    ends: dict[str, int] = {}
    for number, cell in enumerate(job["cells"]):
        try:
            stream += _parse(number, cell)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            if cell["answers"]:
                errors[cell["answers"]] = _in_words(error)
        if cell["answers"]:
            ends[cell["answers"]] = len(stream)
    before = _fingerprint(known)
    done: set[int] = set()
    provided: list[str] = []
    for asked in job["exercises"]:
        name, function = asked["name"], asked["function"]
        if name not in known:
            send("verdict", name=name, verdict="unknown")
            continue
        if asked["settled"] or name in errors:
            if not asked["settled"]:
                send("verdict", name=name, verdict="error", detail=errors[name], seconds=0.0)
            names[function] = known[name].reference
            provided.append(function)
            continue
        needed = needed_for(function, stream[: ends[name]], provided)
        send("begin", name=name)
        started = time.perf_counter()
        found = _examine(
            known[name], function, [one for one in needed if id(one) not in done], names
        )
        found["seconds"] = round(time.perf_counter() - started, 3)
        done |= {id(one) for one in needed}
        changed = _changed(before, known)
        if changed:
            found |= {"verdict": "tampered", "detail": f"it changes {changed}"}
        send("verdict", name=name, **found)
        if found["verdict"] != "passed":
            names[function] = known[name].reference
        provided.append(function)


def _parse(number: int, cell: dict[str, Any]) -> list[Any]:
    """A cell's statements but the calls of `check`, for tracebacks kept as a file."""
    from lessons_lib.grading.needed import statements

    # A whole cell of a magic, such as %%time, is still Python below its first line.
    source = re.sub(r"^\s*%%.*", "", cell["source"])
    try:
        ast.parse(source)
    except SyntaxError:
        # Magics are no Python; loading what knows them takes a second.
        from IPython.core.inputtransformer2 import TransformerManager

        source = TransformerManager().transform_cell(source)
    kept = [one for one in statements(source, number, cell["own"]) if not _is_check(one.node)]
    linecache.cache[f"cell {number}"] = (
        len(source),
        None,
        source.splitlines(keepends=True),
        f"cell {number}",
    )
    return kept


def _is_check(node: ast.stmt) -> bool:
    """Whether a statement is ``f = check("name", f)``, or the call alone."""
    value = node.value if isinstance(node, ast.Assign | ast.Expr) else None
    return (
        isinstance(value, ast.Call)
        and isinstance(value.func, ast.Name)
        and value.func.id == "check"
    )


def _examine(
    exercise: Any, function: str, statements: list[Any], names: dict[str, Any]
) -> dict[str, Any]:
    """Run statements, then the library's checks on a function of that name."""
    from lessons_lib.exercises.answer import RUNS

    try:
        for one in statements:
            file = f"cell {one.cell}"
            exec(compile(ast.Module([one.node], []), file, "exec"), names)
    except BaseException as error:
        return {"verdict": "error", "detail": _in_words(error)}
    answer = names.get(function)
    if answer is None:
        return {"verdict": "error", "detail": f"no function {function} is defined"}
    code = getattr(answer, "__code__", None)
    if answer is exercise.reference or (code and "lessons_lib" in Path(code.co_filename).parts):
        return {"verdict": "library", "detail": "the answer is the library's own function"}
    try:
        verdict = exercise.examine(answer)
    except BaseException as error:
        return {"verdict": "error", "detail": _in_words(error)}
    if verdict.passed:
        return {"verdict": "passed", "detail": ""}
    if not verdict.broken:
        return {"verdict": "not tried", "detail": ""}
    # Between the line that names the property and the one about the library's version.
    lines = [" ".join(line.split()) for line in verdict.message.splitlines()[1:-1]]
    kind = "error" if verdict.broken == RUNS else "broken"
    return {"verdict": kind, "detail": f"{verdict.broken} ({'; '.join(lines)})"}


def _in_words(error: BaseException) -> str:
    """An error in one line, with the line of the notebook where it came up."""
    words = " ".join(f"{type(error).__name__}: {error}".split())
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename.startswith("cell ")
    ]
    return f"{words} at: {own[-1].line}" if own and own[-1].line else words


def _fingerprint(exercises: dict[str, Any]) -> dict[str, Any]:
    """What the checks consist of, by name: functions of the library and of PyTorch, properties."""
    import torch

    from lessons_lib.exercises import answer, core

    places: dict[str, dict[str, Any]] = {
        name: vars(module)
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] == "lessons_lib"
        or name in ("torch", "torch.nn.functional", "builtins", "math", "copy", "json", "time")
    }
    for kind in (torch.Tensor, core.Exercise, core.Verdict, answer.Answer, answer.Broken):
        places[kind.__name__] = dict(vars(kind))
    marks: dict[str, Any] = {}
    for place, things in places.items():
        for name, thing in list(things.items()):
            if callable(thing) or isinstance(thing, property):
                marks[f"{place}.{name}"] = (thing, getattr(thing, "__code__", None))
    for name, exercise in exercises.items():
        marks[f"exercise {name}"] = (exercise, list(exercise.properties), exercise.reference)
    return marks


def _changed(before: dict[str, Any], exercises: dict[str, Any]) -> str:
    """The first name that does not mean any more what it meant; "" if all do."""
    now = _fingerprint(exercises)
    for name, mark in before.items():
        if name not in now or (
            any(
                one is not other and (not isinstance(one, list) or one != other)
                for one, other in zip(mark, now[name], strict=True)
            )
            and not _wrapped_by_torch(name, now[name][0])
        ):
            return name
    return ""


def _wrapped_by_torch(name: str, thing: Any) -> bool:
    """Whether PyTorch has wrapped a function of its own, as some of its parts do once loaded."""
    module = getattr(thing, "__module__", None) or ""
    same_name = getattr(thing, "__name__", None) == name.rpartition(".")[2]
    return name.startswith(("torch.", "Tensor.")) and module.startswith("torch") and same_name


if __name__ == "__main__":
    main()
