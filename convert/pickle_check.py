"""What a pickle is going to do, read from its instructions before any of them is carried out.

Refusing foreign names, which both unpicklers do, keeps a pickle from running code; it does not keep it from taking all
time and memory. A hundred bytes are enough to ask for a memo of 16 GB, or for the hash of a tuple of 2**60 parts. Such
pickles have what no checkpoint has, and are refused here:

- more than :data:`MOST_INSTRUCTIONS`;
- a memo index beyond the number of instructions (C's unpickler allocates up to it);
- a tuple that is larger, when written out, than :data:`LARGEST_TUPLE` (a tuple's hash and comparison visit each part);
- more than :data:`MOST_WIDE_INTEGERS` of more than 64 bits (whose hashes can be made to collide).
"""

import pickletools
from typing import BinaryIO

MOST_INSTRUCTIONS = 500_000  # an optimizer's state of ResNet-152 has some 20,000
LARGEST_TUPLE = 1_000_000
MOST_WIDE_INTEGERS = 1_000

_MARK = -1  # on the stack below, in the place of a size


class Excessive(ValueError):
    """The pickle asks for more time or memory than any checkpoint; the message says of what."""


def check_instructions(file: BinaryIO) -> None:
    """Read one pickle, up to its end, and leave ``file`` behind it.

    Raises:
        Excessive: see above.
        Exception: of any kind, when the pickle is damaged.
    """
    stack: list[int] = []  # of the size of what stands there: parts of a tuple, 1 for all else
    memo: dict[int, int] = {}
    wide = 0
    for number, (instruction, argument, _) in enumerate(pickletools.genops(file)):
        name = instruction.name
        if number > MOST_INSTRUCTIONS:
            raise Excessive(f"has more than {MOST_INSTRUCTIONS} instructions")
        if isinstance(argument, int) and argument.bit_length() > 64:
            wide += 1
            if wide > MOST_WIDE_INTEGERS:
                raise Excessive(f"has more than {MOST_WIDE_INTEGERS} integers of more than 64 bits")
        if name in ("PUT", "BINPUT", "LONG_BINPUT"):
            if argument > MOST_INSTRUCTIONS:
                raise Excessive(f"wants a memo of {argument} places")
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "DUP":
            stack.append(stack[-1])
        else:
            parts = _taken(instruction, stack)
            size = 1 + sum(parts) if name.startswith("TUPLE") else 1
            if size > LARGEST_TUPLE:
                raise Excessive("holds a tuple of more than a million parts, most of them the same")
            stack.extend(_MARK if kind is pickletools.markobject else size for kind in instruction.stack_after)


def _taken(instruction: pickletools.OpcodeInfo, stack: list[int]) -> list[int]:
    """What an instruction takes from the stack; all down to the last mark, if it takes that."""
    before = instruction.stack_before
    if instruction.name == "POP" and stack[-1] == _MARK:
        stack.pop()
        return []
    parts = []
    if pickletools.markobject in before:
        while (size := stack.pop()) != _MARK:
            parts.append(size)
        before = before[: before.index(pickletools.markobject)]
    return parts + [stack.pop() for _ in before]
