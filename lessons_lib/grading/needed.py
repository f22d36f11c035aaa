"""The statements of a notebook that one of its functions depends on.

A lesson runs for a minute, most of it for figures. What an answer needs of it are imports, some
definitions and some values: seconds.
"""

import ast
import builtins
import symtable
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

BUILTINS = frozenset(dir(builtins))
# It binds names that cannot be known without running it.
STAR = "*"
# What its functions set, such as the seed, matters wherever it is used.
STATE = "torch"


@dataclass(frozen=True)
class Statement:
    """A statement at the top level of a cell.

    Attributes:
        node: the statement.
        cell: position of its cell among all that are looked at.
        own: whether the student added it to the lesson.
        binds: names that it gives a value.
        reads: names that it uses, also inside of the functions that it defines.
        changes: names whose values it may change without binding them: ``x[0] = 1``,
            ``x.append(1)``.
    """

    node: ast.stmt
    cell: int
    own: bool
    binds: frozenset[str]
    reads: frozenset[str]
    changes: frozenset[str]


def statements(source: str, cell: int, own: bool) -> list[Statement]:
    """The statements of a cell.

    Raises:
        SyntaxError: it has an error in it.
    """
    found = []
    for node in ast.parse(source, "the cell").body:
        # Only a whole table of symbols knows which names are a function's own.
        table = symtable.symtable(ast.unparse(node), "cell", "exec")
        binds = {
            symbol.get_name()
            for symbol in table.get_symbols()
            if symbol.is_assigned() or symbol.is_imported()
        }
        if isinstance(node, ast.ImportFrom) and any(name.name == STAR for name in node.names):
            binds.add(STAR)
        reads = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_referenced()}
        for inner in table.get_children():
            reads |= _globals_of(inner)
        found.append(
            Statement(
                node,
                cell,
                own,
                frozenset(binds),
                frozenset(reads),
                frozenset(_changed_by(node)),
            )
        )
    return found


def needed_for(
    target: str, before: Sequence[Statement], provided: Iterable[str] = ()
) -> list[Statement]:
    """The statements, of those before some point, that a name's value there depends on.

    What sets torch's state (``torch.manual_seed(0)``) always counts. A student's own statements
    count for names that the lesson itself gives no value.

    Args:
        target: the name.
        before: all statements before the point, in their order.
        provided: names that have their values already.
    """
    given = frozenset(provided) - {target}
    of_lesson = {name for one in before if not one.own for name in one.binds}
    names, chosen = {target, STATE}, set[int]()
    while True:
        open_names = names - given
        foreign = open_names - of_lesson - BUILTINS
        more = {
            number
            for number, one in enumerate(before)
            if number not in chosen
            and (
                (one.binds | one.changes) & (foreign if one.own else open_names)
                or (one.own and STAR in one.binds and foreign)
            )
        }
        if not more:
            return [before[number] for number in sorted(chosen)]
        chosen |= more
        for number in more:
            names |= before[number].reads


def _globals_of(table: symtable.SymbolTable) -> set[str]:
    """Names that a function or class, and all that is inside of it, take from its module."""
    names = {
        symbol.get_name()
        for symbol in table.get_symbols()
        if symbol.is_global() and symbol.is_referenced()
    }
    for inner in table.get_children():
        names |= _globals_of(inner)
    return names


def _changed_by(node: ast.stmt) -> set[str]:
    """Names whose values a statement changes in place, as far as its form shows."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return set()
    changed = set()
    for part in ast.walk(node):
        place: ast.AST = part
        if isinstance(part, ast.Expr) and isinstance(part.value, ast.Call):
            place = part.value.func
        elif isinstance(getattr(part, "ctx", None), ast.Load | None):
            continue
        root = place
        while isinstance(root, ast.Attribute | ast.Subscript):
            root = root.value
        # A loop that sets torch's state does so for itself.
        nested = isinstance(root, ast.Name) and root.id == STATE and part is not node
        if root is not place and isinstance(root, ast.Name) and not nested:
            changed.add(root.id)
    return changed
