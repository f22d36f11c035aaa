"""Bad input, told apart from a fault of the program: which errors end in one line."""

import errno

import typer

# What a path, a disk or a permission can do; other errors of the system are faults.
_OF_FILES = {
    errno.EACCES,
    errno.EDQUOT,
    errno.EEXIST,
    errno.EFBIG,
    errno.EISDIR,
    errno.ELOOP,
    errno.EMFILE,
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOSPC,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
}


def refusal(error: BaseException) -> str | None:
    """The line that tells a user what was wrong with the input; None for what is no such error."""
    if isinstance(error, typer.TyperException):
        return error.format_message()
    if isinstance(error, OSError) and error.errno in _OF_FILES:
        where = f"{error.filename}: " if error.filename else "cannot write the output: "
        return f"{where}{error.strerror or error}"
    if isinstance(error, ValueError) and _is_of_the_library(error):
        return str(error)
    return None


def _is_of_the_library(error: ValueError) -> bool:
    # The library is loaded by now, or the error could not come from it.
    from lessons_lib.checkpoints import CheckpointError
    from lessons_lib.data import DataError
    from lessons_lib.evaluation.leaks import LeakError
    from lessons_lib.evaluation.methods import MethodError
    from lessons_lib.evaluation.report import ReportError
    from lessons_lib.grading import GradingError, NotebookError
    from lessons_lib.images import ImageError
    from lessons_lib.training.tables import ConfigError

    refused = DataError | MethodError | ImageError | LeakError | ConfigError
    return isinstance(error, refused | CheckpointError | ReportError | GradingError | NotebookError)
