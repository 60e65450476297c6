"""What is wrong with data, and what the command line says of an error: whether the input is at fault, or fcdd."""

import dis
import traceback


class DataError(ValueError):
    """A data file is damaged: cut short, changed, or not what its name says."""


def all_of(problems, what: str) -> DataError:
    """One error for all ``problems``, each a line: "3 " and ``what``, then the list."""
    return DataError(f"{len(problems)} {what}:" + "".join(f"\n- {problem}" for problem in problems))


def verdict(error: Exception, packages: set[str]) -> tuple[int, str]:
    """Exit code and message: 1 for what our packages say of the input, files, memory and what is missing; 3, a bug."""
    if isinstance(error, ModuleNotFoundError) and str(error.name).partition(".")[0] not in packages:
        return 1, f"error: {error.name} is not installed; the study and the book need: pip install 'fcdd-book[book]'"
    of_the_machine = isinstance(error, OSError | MemoryError) or "OutOfMemory" in type(error).__name__
    ours = isinstance(error, ValueError | RuntimeError | ImportError | FloatingPointError)
    if of_the_machine or (ours and _raised_in(error, packages)):
        return 1, f"error: {error}"
    first_line = traceback.format_exception_only(error)[0].strip().partition("\n")[0]
    return 3, f"this is a bug in fcdd, not in your input; please report it: {first_line}"


def _raised_in(error: Exception, packages: set[str]) -> bool:
    """Whether a ``raise`` of ours is where it began, and not a call of PyTorch, NumPy or Python from one of our lines:
    those leave no frame of their own, so that the frame's last instruction has to tell."""
    place = error.__traceback__
    while place.tb_next is not None:
        place = place.tb_next
    raised = dis.opname[place.tb_frame.f_code.co_code[place.tb_lasti]] == "RAISE_VARARGS"
    return raised and place.tb_frame.f_globals.get("__name__", "").partition(".")[0] in packages
