# SPDX-License-Identifier: GPL-2.0-only
"""The vocabulary of the dialect, for editors and type checkers.

Model sources import these names; they are parsed and never executed, so every function here raises.  What a word
means is said in docs/dialect.md.  A *place* is a member of a struct (`x.f` or `x.arr[i]`), written as the argument
itself: the primitive accesses the place, it is not handed its value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any, Generic, NoReturn, TypeVar

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., object])


def _never() -> NoReturn:
    raise RuntimeError("model sources are parsed, never executed")


# ------------------------------------------------------------------------------------------ declarations


def struct(cls: type[T]) -> type[T]:
    """A pool of objects in memory that every thread can reach."""
    _never()


def percpu(cls: type[T]) -> type[T]:
    """One object per CPU, which only that CPU reaches: `this_cpu(cls)`."""
    _never()


def onstack(cls: type[T]) -> type[T]:
    """Objects of one thread, made by `new(cls)`, which live until the function that made them returns."""
    _never()


def ghost(declaration: T) -> T:
    """Bookkeeping of the invariants: a class that the system does not have, or a function without steps."""
    _never()


def on_entry(function: Callable[..., object]) -> Callable[[F], F]:
    """Call this ghost function whenever `function` is entered; parameters are picked by name."""
    _never()


def on_return(function: Callable[..., object]) -> Callable[[F], F]:
    """Call this ghost function whenever `function` returns; `result` is what it returns."""
    _never()


def thread(*, copies: int = 1, cpu: int | None = None) -> Callable[[F], F]:
    """A thread of a program that is explored on its own: it runs this function to its end."""
    _never()


def daemon(*, copies: int = 1, cpu: int | None = None) -> Callable[[F], F]:
    """As `thread`, but it may run for ever: the run is over when it rests where it first stops."""
    _never()


def param(name: str, default: int | None = None) -> int:
    """A size that the scenario chooses."""
    _never()


def array(length: int) -> Any:
    """The value of an `Array` member: how long it is."""
    _never()


class upto:
    """`Annotated[int, upto(N)]`: an integer from 0 to N, which is a number or the name of a layout parameter."""

    def __init__(self, bound: int | str) -> None:
        _never()


class Bits:
    """How many bits an integer has."""

    def __init__(self, count: int) -> None:
        self.count = count


Ghost = Annotated[T, "ghost"]

u1 = Annotated[int, Bits(1)]
u2 = Annotated[int, Bits(2)]
u3 = Annotated[int, Bits(3)]
u4 = Annotated[int, Bits(4)]
u5 = Annotated[int, Bits(5)]
u6 = Annotated[int, Bits(6)]
u7 = Annotated[int, Bits(7)]
u8 = Annotated[int, Bits(8)]
u12 = Annotated[int, Bits(12)]
u16 = Annotated[int, Bits(16)]


class Array(Generic[T]):
    """A member with a fixed number of elements: `entry: Array[pte_t] = array(PTRS_PER_PTE)`."""

    def __getitem__(self, index: int) -> T:
        _never()

    def __setitem__(self, index: int, value: T) -> None:
        _never()


class spinlock_t:
    """A lock that one thread holds."""


class rw_semaphore:
    """A lock that one writer or several readers hold."""


# --------------------------------------------------------------------------------------- shared accesses


def READ_ONCE(place: T) -> T:
    """Read the place: one step, as every plain read of a shared member is."""
    _never()


def WRITE_ONCE(place: T, value: T) -> None:
    """Write the place: one step, as every plain write of a shared member is."""
    _never()


def xchg(place: T, new: T) -> T:
    """Write `new` and return the old value, as one step."""
    _never()


def cmpxchg(place: T, old: T, new: T) -> T:
    """Write `new` if the value is `old`; return the value that was found, as one step."""
    _never()


def try_cmpxchg(place: T, old: T, new: T) -> bool:
    """Write `new` if the value is `old`; return whether it was, as one step."""
    _never()


def atomic_read(place: int) -> int:
    """Read a counter."""
    _never()


def atomic_set(place: int, value: int) -> None:
    """Write a counter."""
    _never()


def atomic_inc(place: int) -> None:
    """Add one, as one step."""
    _never()


def atomic_dec(place: int) -> None:
    """Take one away, as one step."""
    _never()


def atomic_add(i: int, place: int) -> None:
    """Add `i`, as one step."""
    _never()


def atomic_sub(i: int, place: int) -> None:
    """Take `i` away, as one step."""
    _never()


def atomic_inc_return(place: int) -> int:
    """Add one and return the new value, as one step."""
    _never()


def atomic_dec_return(place: int) -> int:
    """Take one away and return the new value, as one step."""
    _never()


def atomic_add_return(i: int, place: int) -> int:
    """Add `i` and return the new value, as one step."""
    _never()


def atomic_sub_return(i: int, place: int) -> int:
    """Take `i` away and return the new value, as one step."""
    _never()


def atomic_dec_and_test(place: int) -> bool:
    """Take one away and return whether nothing is left, as one step."""
    _never()


def atomic_or(mask: int, place: int) -> None:
    """Set the bits of `mask`, as one step."""
    _never()


def atomic_andnot(mask: int, place: int) -> None:
    """Clear the bits of `mask`, as one step."""
    _never()


def atomic_fetch_or(mask: int, place: int) -> int:
    """Set the bits of `mask` and return the old value, as one step."""
    _never()


def atomic_fetch_andnot(mask: int, place: int) -> int:
    """Clear the bits of `mask` and return the old value, as one step."""
    _never()


def test_bit(place: bool) -> bool:
    """Read a flag."""
    _never()


def set_bit(place: bool) -> None:
    """Set a flag, as one step."""
    _never()


def clear_bit(place: bool) -> None:
    """Clear a flag, as one step."""
    _never()


def test_and_set_bit(place: bool) -> bool:
    """Set a flag and return what it was, as one step."""
    _never()


def test_and_clear_bit(place: bool) -> bool:
    """Clear a flag and return what it was, as one step."""
    _never()


# ------------------------------------------------------------------------------------------------ locks


def spin_lock(place: spinlock_t) -> None:
    """Block until the lock is free, then take it."""
    _never()


def spin_trylock(place: spinlock_t) -> bool:
    """Take the lock if it is free; return whether it was."""
    _never()


def spin_unlock(place: spinlock_t) -> None:
    """Release the lock, which this thread holds."""
    _never()


def down_read(place: rw_semaphore) -> None:
    """Block until there is no writer, then be a reader."""
    _never()


def down_read_trylock(place: rw_semaphore) -> bool:
    """Be a reader if there is no writer; return whether there was none."""
    _never()


def up_read(place: rw_semaphore) -> None:
    """Be a reader no longer."""
    _never()


def down_write(place: rw_semaphore) -> None:
    """Block until nobody holds it, then be the writer."""
    _never()


def down_write_trylock(place: rw_semaphore) -> bool:
    """Be the writer if nobody holds it; return whether nobody did."""
    _never()


def up_write(place: rw_semaphore) -> None:
    """Be the writer no longer."""
    _never()


def downgrade_write(place: rw_semaphore) -> None:
    """Be a reader instead of the writer."""
    _never()


def lockdep_assert_held(place: spinlock_t | rw_semaphore) -> None:
    """Flag lock_assertion unless this thread holds the lock in some mode."""
    _never()


def lockdep_assert_held_read(place: rw_semaphore) -> None:
    """Flag lock_assertion unless this thread is a reader."""
    _never()


def lockdep_assert_held_write(place: rw_semaphore) -> None:
    """Flag lock_assertion unless this thread is the writer."""
    _never()


# ------------------------------------------------------------------------------- threads, pools, choices


def wait_until(cond: bool) -> None:
    """Block until the condition, which reads one shared place, holds."""
    _never()


def choose(count: int) -> int:
    """Any of 0 … count − 1; with a count of 0 the thread is blocked."""
    _never()


def pool(cls: type[T]) -> Iterator[T]:
    """In a `for`: every object of the pool in order."""
    _never()


def at(cls: type[T], index: int) -> T:
    """Object `index` of the pool, as `&mem_map[index]`."""
    _never()


def index_of(handle: object) -> int:
    """Which object of its pool this is."""
    _never()


def nr(cls: type[object]) -> int:
    """How many objects the pool has."""
    _never()


def new(cls: type[T]) -> T:
    """A zeroed stack object, which lives until the function returns."""
    _never()


def this_cpu(cls: type[T]) -> T:
    """The object of the CPU that executes this."""
    _never()


def this_thread(cls: type[T]) -> T:
    """The object whose index is the number of the thread that executes this."""
    _never()


def per_cpu(cls: type[T], cpu: int) -> T:
    """The object of any CPU; in setup.py and ghost functions only."""
    _never()


def cpu_id() -> int:
    """The number of the CPU that executes this."""
    _never()


def thread_id() -> int:
    """The number of the thread that executes this."""
    _never()


# ------------------------------------------------------------------------------------------- invariants


def flag(name: str, **values: object) -> None:
    """End the run: the invariant `name` does not hold here.  The values are for the report."""
    _never()


def reach(name: str) -> None:
    """Note that the situation `name` was gone through."""
    _never()
