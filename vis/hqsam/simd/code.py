"""A thin layer over ``llvmlite.ir``: counted loops, vectors of float32, GELU and exponential.

What is written with it is LLVM code in static single assignment form, which needs the code generator alone
and none of LLVM's optimisers: a loop carries its running values itself, and nothing lives in memory that
can live in registers. Sums are taken in the order in which they are written, always.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]

__all__ = ["Code", "Loop"]

_GELU_BOUND = 5.445
"""Beyond it erf(x / sqrt(2)) is one to half a unit in the last place; here the fraction below gives just that."""
_GELU_ABOVE = (0.7978845, 0.06691662, 0.009302891, 0.00032913563, 1.2603096e-05, 4.5863157e-08)
_GELU_BELOW = (1.0, 0.25053394, 0.028415795, 0.0018606121, 7.2165138e-05, 1.1990377e-06)
"""erf(x / sqrt(2)) / x as a fraction of polynomials of x**2 with least relative error up to 5.5: 1.7e-8."""
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4
_EXP = (1.0, 1.0, 0.4999999106, 0.1666641086, 0.0416682884, 0.0083756448, 0.0013835797)
"""exp on -ln(2)/2 ... ln(2)/2 with least relative error: 2e-9."""

Value = Any
"""Of llvmlite, which has no types: a number, vector or place (pointer to float) of the code being written."""


class Loop:
    """A loop being written."""

    def __init__(self, index: Value, values: list[Value]) -> None:
        self.index = index
        self.values = values
        """What is carried from turn to turn; after the loop, what came out of the last one."""
        self.carried: Sequence[Value] = values

    def carry(self, values: Sequence[Value]) -> None:
        """Give ``values`` to the next turn."""
        self.carried = values


class Code:
    """A module of functions of places and 64-bit numbers, on vectors of ``width`` float32."""

    def __init__(self, width: int, rows: int) -> None:
        self.width = width
        self.rows = rows
        """Rows of a tile of a matrix product."""
        self.columns = 2 * width
        """Columns of a tile: two vectors."""
        self.module = ir.Module(name="vistubes_simd")
        self.integer, self.float32 = ir.IntType(64), ir.FloatType()
        self.vector = ir.VectorType(self.float32, width)
        self.place = self.float32.as_pointer()
        self.functions: dict[str, Value] = {}
        self.b: Any = None

    # Functions and loops

    @contextmanager
    def function(self, name: str, places: str, numbers: str, *, inner: bool = False) -> Iterator[list[Value]]:
        """A function of the named places, then numbers; ``inner`` ones cannot be called from outside."""
        names = places.split(), numbers.split()
        kinds = [self.place] * len(names[0]) + [self.integer] * len(names[1])
        function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), kinds), name=f"vistubes_{name}")
        function.linkage = "internal" if inner else "external"
        for given, called in zip(function.args, names[0] + names[1], strict=True):
            given.name = called
        self.functions[name] = function
        self.b = ir.IRBuilder(function.append_basic_block("start"))
        yield list(function.args)
        self.b.ret_void()

    def call(self, name: str, *given: Value | int) -> None:
        """Call one of the functions written before."""
        self.b.call(self.functions[name], [self.number(x) if isinstance(x, int) else x for x in given])

    @contextmanager
    def loop(
        self, start: Value | int, stop: Value | int, step: Value | int = 1, carried: Sequence[Value] = ()
    ) -> Iterator[Loop]:
        """``for index in range(start, stop, step)``."""
        b, before = self.b, self.b.block
        head, body, end = (b.append_basic_block() for _ in range(3))
        b.branch(head)
        b.position_at_end(head)
        phis = []
        for value in (self._n(start), *carried):
            phis.append(b.phi(value.type))
            phis[-1].add_incoming(value, before)
        b.cbranch(b.icmp_signed("<", phis[0], self._n(stop)), body, end)
        b.position_at_end(body)
        loop = Loop(phis[0], phis[1:])
        yield loop
        after = b.block
        for phi, value in zip(phis, (self.add(phis[0], step), *loop.carried), strict=True):
            phi.add_incoming(value, after)
        b.branch(head)
        b.position_at_end(end)

    @contextmanager
    def when(self, left: Value, sign: str, right: Value | int) -> Iterator[None]:
        """``if left < right``, of numbers."""
        with self.b.if_then(self.b.icmp_signed(sign, left, self._n(right))):
            yield

    # Numbers and places

    def lane(self, index: int) -> Value:
        """The constant that picks one of a vector's numbers."""
        return ir.IntType(32)(index)

    def number(self, value: int) -> Value:
        """A constant."""
        return self.integer(value)

    def _n(self, value: Value | int) -> Value:
        return self.integer(value) if isinstance(value, int) else value

    def add(self, *values: Value | int) -> Value:
        """Sum of numbers."""
        total = self._n(values[0])
        for value in values[1:]:
            total = self.b.add(total, self._n(value))
        return total

    def sub(self, left: Value | int, right: Value | int) -> Value:
        """Difference of numbers."""
        return self.b.sub(self._n(left), self._n(right))

    def mul(self, *values: Value | int) -> Value:
        """Product of numbers."""
        total = self._n(values[0])
        for value in values[1:]:
            total = self.b.mul(total, self._n(value))
        return total

    def div(self, left: Value, right: Value | int) -> Value:
        """Quotient of numbers, rounded towards zero."""
        return self.b.sdiv(left, self._n(right))

    def least(self, left: Value | int, right: Value | int) -> Value:
        """The smaller number."""
        left, right = self._n(left), self._n(right)
        return self.b.select(self.b.icmp_signed("<", left, right), left, right)

    def most(self, left: Value | int, right: Value | int) -> Value:
        """The larger number."""
        left, right = self._n(left), self._n(right)
        return self.b.select(self.b.icmp_signed(">", left, right), left, right)

    def at(self, place: Value, *offsets: Value | int) -> Value:
        """The place so many floats further on."""
        return self.b.gep(place, [self.add(*offsets)])

    def room(self, floats: int) -> Value:
        """Space on the stack; ask at a function's start."""
        place = self.b.alloca(ir.ArrayType(self.float32, floats))
        place.align = 64
        return self.b.bitcast(place, self.place)

    # Vectors

    def load(self, place: Value) -> Value:
        """The vector that begins there, at any alignment."""
        loaded = self.b.load(self.b.bitcast(place, self.vector.as_pointer()))
        loaded.align = 4
        return loaded

    def store(self, vector: Value, place: Value) -> None:
        """Write a vector, at any alignment."""
        self.b.store(vector, self.b.bitcast(place, self.vector.as_pointer())).align = 4

    def everywhere(self, value: Value | float) -> Value:
        """A vector of one number, a constant or a float of the code."""
        if isinstance(value, float):
            return ir.Constant(self.vector, [value] * self.width)
        undefined = ir.Constant(self.vector, ir.Undefined)
        single = self.b.insert_element(undefined, value, ir.IntType(32)(0))
        lanes = ir.VectorType(ir.IntType(32), self.width)
        return self.b.shuffle_vector(single, undefined, ir.Constant(lanes, [0] * self.width))

    def spread(self, place: Value) -> Value:
        """A vector of the one number there."""
        return self.everywhere(self.b.load(place))

    def _intrinsic(self, name: str, vector: Value, count: int) -> Value:
        name = f"llvm.{name}.v{self.width}f32"
        if name not in self.module.globals:
            ir.Function(self.module, ir.FunctionType(vector, [vector] * count), name=name)
        return self.module.globals[name]

    def scalar_intrinsic(self, name: str, count: int) -> Value:
        """One of LLVM's own functions of single floats."""
        name = f"llvm.{name}.f32"
        if name not in self.module.globals:
            kinds = [self.float32] * count
            ir.Function(self.module, ir.FunctionType(self.float32, kinds), name=name)
        return self.module.globals[name]

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        """``a * b + c``, rounded once."""
        return self.b.call(self._intrinsic("fma", self.vector, 3), [a, b, c])

    def smaller(self, a: Value, b: Value) -> Value:
        """Of each pair the smaller; ``b`` where they cannot be compared."""
        return self.b.select(self.b.fcmp_ordered("<", a, b), a, b)

    def larger(self, a: Value, b: Value) -> Value:
        """Of each pair the larger; ``b`` where they cannot be compared."""
        return self.b.select(self.b.fcmp_ordered(">", a, b), a, b)

    def polynomial(self, x: Value, factors: Sequence[float]) -> Value:
        """``factors[0] + factors[1] * x + ...``."""
        y = self.everywhere(factors[-1])
        for factor in factors[-2::-1]:
            y = self.fma(y, x, self.everywhere(factor))
        return y

    def gelu(self, x: Value) -> Value:
        """``x / 2 * (1 + erf(x / sqrt(2)))``; at most 1.5e-7 * abs(x) off."""
        bound = self.everywhere(_GELU_BOUND)
        near = self.larger(self.smaller(x, bound), self.everywhere(-_GELU_BOUND))
        square = self.b.fmul(near, near)
        above = self.b.fmul(near, self.polynomial(square, _GELU_ABOVE))
        erf = self.b.fdiv(above, self.polynomial(square, _GELU_BELOW))
        half = self.b.fmul(x, self.everywhere(0.5))
        return self.fma(half, erf, half)

    def exponential(self, x: Value) -> Value:
        """``exp(x)`` for numbers up to 0, to two units in the last place; below -87 it is exp(-87)."""
        x = self.larger(x, self.everywhere(-87.0))
        lanes = ir.VectorType(ir.IntType(32), self.width)
        # Rounded by adding and taking away a number whose last bit is worth one.
        shift = self.everywhere(1.5 * 2**23)
        power = self.b.fsub(self.fma(x, self.everywhere(1 / math.log(2)), shift), shift)
        rest = self.fma(power, self.everywhere(-_LN2_HIGH), x)
        rest = self.fma(power, self.everywhere(-_LN2_LOW), rest)
        y = self.polynomial(rest, _EXP)
        bits = self.b.shl(self.b.fptosi(power, lanes), ir.Constant(lanes, [23] * self.width))
        return self.b.bitcast(self.b.add(self.b.bitcast(y, lanes), bits), self.vector)

    def total(self, x: Value) -> Value:
        """Sum of a vector's numbers, halves upon halves."""
        return self._halve(x, self.b.fadd)

    def greatest(self, x: Value) -> Value:
        """The greatest of a vector's numbers."""
        return self._halve(x, lambda a, b: self.b.select(self.b.fcmp_ordered(">", a, b), a, b))

    def transpose(self, rows: Sequence[Value]) -> list[Value]:
        """As many vectors as each has numbers, mirrored at the diagonal: blocks of 1, 2, 4 ... change places."""
        out, lanes = list(rows), range(self.width)
        kind = ir.VectorType(ir.IntType(32), self.width)
        step = 1
        while step < self.width:
            lower = ir.Constant(kind, [i if not i & step else self.width + i - step for i in lanes])
            upper = ir.Constant(kind, [i + step if not i & step else self.width + i for i in lanes])
            for i in lanes:
                if not i & step:
                    pair = out[i], out[i + step]
                    out[i], out[i + step] = (self.b.shuffle_vector(*pair, pick) for pick in (lower, upper))
            step *= 2
        return out

    def _halve(self, x: Value, join: Callable[[Value, Value], Value]) -> Value:
        lane = ir.IntType(32)
        size = self.width
        while size > 1:
            size //= 2
            undefined = ir.Constant(x.type, ir.Undefined)
            picks = (
                ir.Constant(ir.VectorType(lane, size), list(range(start, start + size)))
                for start in (0, size)
            )
            x = join(*(self.b.shuffle_vector(x, undefined, pick) for pick in picks))
        return self.b.extract_element(x, lane(0))
