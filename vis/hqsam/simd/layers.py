"""Layers made of products: norm, depthwise 3x3, inverted bottleneck, feed-forward, 3x3 convolution.

Each works through a map in pieces that stay in cache from its first step to its last. Maps are (H, W, C).
"""

from __future__ import annotations

from vis.hqsam.simd.code import Code, Value

__all__ = ["TILE", "write_layers"]

TILE = 64
"""Columns of an inverted bottleneck at a time: three rows of them, 256 channels wide, are 200 KiB."""
_ROWS = 4
"""Rows normalised at once, so that sums need not wait for each other."""


def write_layers(code: Code) -> None:
    """All of them; wants the products written before."""
    _norm(code, "norm", gelu=False)
    _norm(code, "norm_gelu", gelu=True)
    for name, stride, gelu in (("plain", 1, False), ("gelu", 1, True), ("half_gelu", 2, True)):
        (_mix_row if stride == 1 else _mix_row_halved)(code, name, gelu)
        _depthwise(code, name, stride)
    _bottleneck(code)
    _feed_forward(code)
    _normed_product(code)
    for name in ("plain", "gelu"):
        _convolution(code, name)


def _norm(code: Code, name: str, *, gelu: bool) -> None:
    """LayerNorm of ``rows``, and GELU; ``norm`` is its weight, bias and epsilon in one. Not in place."""
    with code.function(name, "x norm out", "rows width ldx ldo") as given:
        x, norm, out, rows, width, ldx, ldo = given
        b, zero, w = code.b, code.everywhere(0.0), code.width
        epsilon = b.load(code.at(norm, width, width))
        one = code.float32(1.0)
        count = b.sitofp(width, code.float32)
        root = code.scalar_intrinsic("sqrt", 1)
        with code.loop(0, rows, _ROWS) as top:
            ys = [code.least(code.add(top.index, r), code.sub(rows, 1)) for r in range(_ROWS)]
            sources = [code.at(x, code.mul(y, ldx)) for y in ys]
            with code.loop(0, width, w, [zero] * _ROWS) as sums:
                sums.carry(
                    [
                        b.fadd(total, code.load(code.at(source, sums.index)))
                        for total, source in zip(sums.values, sources, strict=True)
                    ]
                )
            means = [code.everywhere(b.fdiv(code.total(total), count)) for total in sums.values]
            with code.loop(0, width, w, [zero] * _ROWS) as squares:
                turn = []
                for total, source, mean in zip(squares.values, sources, means, strict=True):
                    off = b.fsub(code.load(code.at(source, squares.index)), mean)
                    turn.append(code.fma(off, off, total))
                squares.carry(turn)
            scales = []
            for total in squares.values:
                variance = b.fadd(b.fdiv(code.total(total), count), epsilon)
                scales.append(code.everywhere(b.fdiv(one, b.call(root, [variance]))))
            with code.loop(0, width, w) as column:
                weight = code.load(code.at(norm, column.index))
                bias = code.load(code.at(norm, width, column.index))
                for source, y, mean, scale in zip(sources, ys, means, scales, strict=True):
                    off = b.fsub(code.load(code.at(source, column.index)), mean)
                    result = code.fma(b.fmul(off, scale), weight, bias)
                    place = code.at(out, code.mul(y, ldo), column.index)
                    code.store(code.gelu(result) if gelu else result, place)


_MIX_PLACES = "above here below weight bias out"
_MIX_NUMBERS = "has_above has_below lead columns trail channels ldx ldo"
"""One row of a depthwise convolution. The rows given begin ``lead`` columns (0 or 1) before the first to be
computed, of ``columns``, and go on for ``trail`` (0 or 1) behind the last; where there is none, it is the border."""


def _kernel(code: Code, given: list[Value], channel: Value) -> tuple[list[Value], list[list[Value]], Value]:
    """Places of the three rows at ``channel``, the 3 x 3 weights, and the bias.

    A row outside of the map is read as the one within, with weights of zero.
    """
    above, here, below, weight, bias, _, has_above, has_below, _, _, _, channels, _, _ = given
    b = code.b
    yes = [b.icmp_signed("!=", has, code.number(0)) for has in (has_above, has_below)]
    rows = [b.select(yes[0], above, here), here, b.select(yes[1], below, here)]
    taps = []
    for y in range(3):
        line = [code.load(code.at(weight, code.mul(channels, 3 * y + x), channel)) for x in range(3)]
        if y != 1:
            line = [b.select(yes[y // 2], tap, code.everywhere(0.0)) for tap in line]
        taps.append(line)
    return [code.at(row, channel) for row in rows], taps, code.load(code.at(bias, channel))


def _column(code: Code, rows: list[Value], at: Value) -> list[Value]:
    return [code.load(code.at(row, at)) for row in rows]


def _sum(code: Code, total: Value, column: list[Value], taps: list[list[Value]], x: int) -> Value:
    for y in range(3):
        total = code.fma(column[y], taps[y][x], total)
    return total


def _mix_row(code: Code, name: str, gelu: bool) -> None:
    """Each input column adds to three outputs: it ends one, goes on with one, and begins one."""
    with code.function(f"mix_row_{name}", _MIX_PLACES, _MIX_NUMBERS, inner=True) as given:
        _, _, _, _, _, out, _, _, lead, columns, trail, channels, ldx, ldo = given
        b = code.b

        def finish(x: Value) -> Value:
            return code.gelu(x) if gelu else x

        with code.loop(0, channels, code.width) as channel:
            rows, taps, bias = _kernel(code, given, channel.index)
            target = code.at(out, channel.index)
            has_lead = b.icmp_signed("!=", lead, code.number(0))
            first = _column(code, rows, code.number(0))
            begun = b.select(has_lead, _sum(code, bias, first, taps, 0), bias)
            column = _column(code, rows, code.mul(lead, ldx))
            going, begun = _sum(code, begun, column, taps, 1), _sum(code, bias, column, taps, 0)
            with code.loop(1, code.add(columns, trail), 1, [going, begun]) as x:
                going, begun = x.values
                column = _column(code, rows, code.mul(code.add(x.index, lead), ldx))
                done = _sum(code, going, column, taps, 2)
                code.store(finish(done), code.at(target, code.mul(code.sub(x.index, 1), ldo)))
                x.carry([_sum(code, begun, column, taps, 1), _sum(code, bias, column, taps, 0)])
            with code.when(trail, "==", 0):
                code.store(finish(x.values[0]), code.at(target, code.mul(code.sub(columns, 1), ldo)))


def _mix_row_halved(code: Code, name: str, gelu: bool) -> None:
    """Stride 2, for a whole row of ``columns`` outputs from twice as many columns."""
    with code.function(f"mix_row_{name}", _MIX_PLACES, _MIX_NUMBERS, inner=True) as given:
        _, _, _, _, _, out, _, _, _, columns, _, channels, ldx, ldo = given
        with code.loop(0, channels, code.width) as channel:
            rows, taps, bias = _kernel(code, given, channel.index)
            target = code.at(out, channel.index)
            with code.loop(0, columns, 1, [bias]) as x:
                even = code.mul(x.index, 2, ldx)
                done = _sum(code, x.values[0], _column(code, rows, even), taps, 1)
                odd = _column(code, rows, code.add(even, ldx))
                done = _sum(code, done, odd, taps, 2)
                code.store(code.gelu(done) if gelu else done, code.at(target, code.mul(x.index, ldo)))
                x.carry([_sum(code, bias, odd, taps, 0)])


def _depthwise(code: Code, name: str, stride: int) -> None:
    """Rows ``top`` to ``bottom`` of the result, for a map of ``height`` x ``width``."""
    places, numbers = "x weight bias out", "top bottom height width channels ldx ldo"
    with code.function(f"depthwise_{name}", places, numbers) as given:
        x, weight, bias, out, top, bottom, height, width, channels, ldx, ldo = given
        line = code.mul(width, ldx)
        columns = code.div(width, stride)
        with code.loop(top, bottom) as y:
            middle = code.mul(y.index, stride)
            here = code.at(x, code.mul(middle, line))
            has_above = code.least(1, middle)
            has_below = code.least(1, code.sub(height, code.add(middle, 1)))
            above, below = code.at(here, code.sub(0, line)), code.at(here, line)
            target = code.at(out, code.mul(y.index, columns, ldo))
            code.call(
                f"mix_row_{name}",
                *(above, here, below, weight, bias, target),
                *(has_above, has_below, 0, columns, 0, channels, ldx, ldo),
            )


def _bottleneck(code: Code) -> None:
    """Widen with GELU, depthwise 3x3 with GELU, narrow, add the input, GELU: rows ``top`` to ``bottom``.

    Columns are taken ``TILE`` at a time and rows one by one: of the wide rows the last three are kept in
    ``room``, each (TILE + 2) x ``pitch``, and one more for what the depthwise convolution makes of them::

        x row y ──widen──► wide row y ┐
                           y - 1      ├─depthwise──► mixed row y - 1 ──narrow──► out row y - 1
                           y - 2      ┘
    """
    places = "x widen widen_bias mix mix_bias narrow narrow_bias out room"
    numbers = "top bottom height width channels hidden pitch"
    with code.function("bottleneck", places, numbers) as given:
        x, widen, widen_bias, mix, mix_bias, narrow, narrow_bias, out, room, *rest = given
        top, bottom, height, width, channels, hidden, pitch = rest
        slot = code.mul(pitch, TILE + 2)
        mixed = code.at(room, code.mul(slot, 3))

        def wide(y: Value) -> Value:
            return code.at(room, code.mul(code.b.srem(code.add(y, 3), code.number(3)), slot))

        with code.loop(0, width, TILE) as left:
            right = code.least(width, code.add(left.index, TILE))
            start = code.most(0, code.sub(left.index, 1))
            stop = code.least(width, code.add(right, 1))
            lead, trail = code.sub(left.index, start), code.sub(stop, right)
            columns = code.sub(right, left.index)
            begin, end = code.most(0, code.sub(top, 1)), code.add(bottom, 1)
            with code.loop(begin, end) as y:
                with code.when(y.index, "<", height):
                    code.call(
                        "product_gelu",
                        *(code.at(x, code.mul(code.add(code.mul(y.index, width), start), channels)), widen),
                        *(widen_bias, x, wide(y.index), code.sub(stop, start)),
                        *(code.div(hidden, code.columns), channels, 1, channels, 0, 0, pitch, TILE + 2),
                    )
                with code.when(y.index, ">", top):
                    middle = code.sub(y.index, 1)
                    code.call(
                        "mix_row_gelu",
                        *(wide(code.sub(middle, 1)), wide(middle), wide(y.index), mix, mix_bias, mixed),
                        *(code.least(1, middle), code.least(1, code.sub(height, y.index))),
                        *(lead, columns, trail, hidden, pitch, pitch),
                    )
                    here = code.mul(code.add(code.mul(middle, width), left.index), channels)
                    code.call(
                        "product_add_gelu",
                        *(mixed, narrow, narrow_bias, code.at(x, here), code.at(out, here), columns),
                        *(code.div(channels, code.columns), pitch, 1, hidden, 0, channels, channels, TILE),
                    )


def _feed_forward(code: Code) -> None:
    """LayerNorm, widen with GELU, narrow, add the input; ``out`` may be ``x``."""
    places = "x norm widen widen_bias narrow narrow_bias out room"
    with code.function("feed_forward", places, "rows channels hidden strip") as given:
        x, norm, widen, widen_bias, narrow, narrow_bias, out, room, rows, channels, hidden, strip = given
        wide = code.at(room, code.mul(strip, channels))
        with code.loop(0, rows, strip) as top:
            have = code.least(strip, code.sub(rows, top.index))
            here = code.mul(top.index, channels)
            code.call("norm", code.at(x, here), norm, room, have, channels, channels, channels)
            code.call(
                "product_gelu",
                *(room, widen, widen_bias, x, wide, have, code.div(hidden, code.columns)),
                *(channels, 1, channels, 0, 0, hidden, strip),
            )
            code.call(
                "product_add",
                *(wide, narrow, narrow_bias, code.at(x, here), code.at(out, here), have),
                *(code.div(channels, code.columns), hidden, 1, hidden, 0, channels, channels, strip),
            )


def _normed_product(code: Code) -> None:
    """LayerNorm, then a product with bias."""
    with code.function(
        "normed_product", "x norm weight bias out room", "rows width panels ldo strip"
    ) as given:
        x, norm, weight, bias, out, room, rows, width, panels, ldo, strip = given
        with code.loop(0, rows, strip) as top:
            have = code.least(strip, code.sub(rows, top.index))
            code.call("norm", code.at(x, code.mul(top.index, width)), norm, room, have, width, width, width)
            code.call(
                "product_plain",
                *(room, weight, bias, x, code.at(out, code.mul(top.index, ldo)), have, panels),
                *(width, 1, width, 0, 0, ldo, strip),
            )


def _convolution(code: Code, name: str) -> None:
    """3x3, rows ``top`` to ``bottom`` of the result, from a map with a border of zeros.

    ``line`` is the floats of a row of that map, ``ldo`` and ``line_out`` those of a pixel and row of the result.
    """
    places, numbers = "x weight bias out", "top bottom columns channels stride line panels ldo line_out"
    with code.function(f"convolution_{name}", places, numbers) as given:
        x, weight, bias, out, top, bottom, columns, channels, stride, line, panels, ldo, line_out = given
        with code.loop(top, bottom) as y:
            code.call(
                f"product_{name}",
                *(code.at(x, code.mul(y.index, stride, line)), weight, bias, x),
                *(code.at(out, code.mul(y.index, line_out)), columns, panels, code.mul(stride, channels)),
                *(3, code.mul(channels, 3), line, 0, ldo, columns),
            )
