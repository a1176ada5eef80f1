"""Matrix products of float32 with what follows them (bias, GELU, residual) before the result leaves cache.

The right matrix is packed once, in panels as wide as a tile::

    (O, I) weights  ->  O / columns panels of (I, columns), one behind the other

A tile of ``rows`` x ``columns`` sums stays in registers while the inner axis runs, from first to last:
so a row of the result depends on nothing but its own row and the weights.

The inner axis may come in blocks that lie ``step`` floats apart: a 3x3 convolution over a map with a
border of zeros is a product whose row at (y, x) has three blocks, the pixels (y - 1 ... y + 1, x - 1 ... x + 1).
"""

from __future__ import annotations

from vis.hqsam.simd.code import Code, Value

__all__ = ["EPILOGUES", "write_products"]

EPILOGUES = {"plain": (False, False), "gelu": (True, False), "add": (False, True), "add_gelu": (True, True)}
"""What is done to ``x @ w + bias``: (GELU at the end, a residual added before it)."""
_UNROLL = 4


def write_products(code: Code) -> None:
    """Functions ``product_plain``, ``product_gelu``, ``product_add`` and ``product_add_gelu``."""
    _tile(code)
    for name, (gelu, add) in EPILOGUES.items():
        _product(code, name, gelu, add)


def _tile(code: Code) -> None:
    """``buffer[rows, columns] = a @ panel``; rows beyond ``have`` repeat the last one."""
    with code.function("tile", "a panel buffer", "lda have blocks length step", inner=True) as given:
        a, panel, buffer, lda, have, blocks, length, step = given
        last = code.sub(have, 1)
        starts = [code.at(a, code.mul(code.least(r, last), lda)) for r in range(code.rows)]
        zero = code.everywhere(0.0)
        whole = code.mul(code.div(length, _UNROLL), _UNROLL)

        def multiply(sums: list[Value], rows: list[Value], right: Value, k: Value, steps: int) -> list[Value]:
            for u in range(steps):
                at = code.at(right, code.mul(code.add(k, u), code.columns))
                pair = code.load(at), code.load(code.at(at, code.width))
                for r in range(code.rows):
                    left = code.spread(code.at(rows[r], code.add(k, u)))
                    for v in (0, 1):
                        sums[2 * r + v] = code.fma(left, pair[v], sums[2 * r + v])
            return sums

        with code.loop(0, blocks, 1, [zero] * (2 * code.rows)) as outer:
            rows = [code.at(start, code.mul(outer.index, step)) for start in starts]
            right = code.at(panel, code.mul(outer.index, length, code.columns))
            with code.loop(0, whole, _UNROLL, outer.values) as inner:
                inner.carry(multiply(list(inner.values), rows, right, inner.index, _UNROLL))
            with code.loop(whole, length, 1, inner.values) as rest:
                rest.carry(multiply(list(rest.values), rows, right, rest.index, 1))
            outer.carry(rest.values)
        for i, total in enumerate(outer.values):
            code.store(total, code.at(buffer, i * code.width))


def _product(code: Code, name: str, gelu: bool, add: bool) -> None:
    """``out = finish(a @ weight + bias)`` for ``rows`` rows, ``strip`` of them at a time, and panels of columns."""
    places, numbers = "a weight bias residual out", "rows panels lda blocks length step ldr ldo strip"
    with code.function(f"product_{name}", places, numbers) as given:
        a, weight, bias, residual, out, rows, panels, lda, blocks, length, step, ldr, ldo, strip = given
        buffer = code.room(code.rows * code.columns)
        size = code.mul(blocks, length, code.columns)
        with code.loop(0, rows, strip) as first, code.loop(0, panels) as panel:
            end = code.least(rows, code.add(first.index, strip))
            column = code.mul(panel.index, code.columns)
            right = code.at(weight, code.mul(panel.index, size))
            biases = [code.load(code.at(bias, column, v * code.width)) for v in (0, 1)]
            with code.loop(first.index, end, code.rows) as top:
                have = code.least(code.rows, code.sub(end, top.index))
                here = code.at(a, code.mul(top.index, lda))
                code.call("tile", here, right, buffer, lda, have, blocks, length, step)
                with code.loop(0, have) as row:
                    y = code.add(top.index, row.index)
                    for v in (0, 1):
                        at = code.add(column, v * code.width)
                        x = code.load(code.at(buffer, code.mul(row.index, code.columns), v * code.width))
                        x = code.b.fadd(x, biases[v])
                        if add:
                            x = code.b.fadd(x, code.load(code.at(residual, code.mul(y, ldr), at)))
                        code.store(code.gelu(x) if gelu else x, code.at(out, code.mul(y, ldo), at))
