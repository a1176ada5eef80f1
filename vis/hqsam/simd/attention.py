"""Attention within windows, straight out of a map of queries, keys and values and into a map again; and of a
map to a few tokens."""

from __future__ import annotations

from vis.hqsam.simd.code import Code, Value

__all__ = ["in_panel", "room_for_windows", "write_attention"]


def write_attention(code: Code) -> None:
    """Functions ``window_attention``, ``attention_band``, ``few_keys``; wants products and layers written before."""
    _gather(code)
    _softmax(code)
    _window_attention(code)
    _attention_band(code)
    _few_keys(code)


def _gather(code: Code) -> None:
    """Queries, keys and values of one window and head, packed for the two products.

    ``source`` is the map at the window's corner and the head's first number; tokens at or beyond ``down`` and
    ``across`` are ``padding``. Queries come as rows, values as panels of ``n`` rows, and keys as panels of
    ``size`` rows: transposed, by way of ``loose``, whose rows beyond n are whatever they were.
    """
    places, numbers = "source padding queries keys values loose", "window down across size line pixel pitch"
    with code.function("gather", places, numbers, inner=True) as given:
        source, padding, queries, keys, values, loose, window, down, across, size, line, pixel, pitch = given
        b = code.b
        n = code.mul(window, window)
        with code.loop(0, window) as y, code.loop(0, window) as x:
            inside = b.and_(b.icmp_signed("<", y.index, down), b.icmp_signed("<", x.index, across))
            there = code.at(source, code.mul(y.index, line), code.mul(x.index, pixel))
            token = b.select(inside, there, padding)
            t = code.add(code.mul(y.index, window), x.index)
            with code.loop(0, size, code.width) as c:
                row = code.add(code.mul(t, size), c.index)
                code.store(code.load(code.at(token, c.index)), code.at(queries, row))
                code.store(code.load(code.at(token, size, c.index)), code.at(loose, row))
                to_value = code.at(values, in_panel(code, t, c.index, n))
                code.store(code.load(code.at(token, size, size, c.index)), to_value)
        with code.loop(0, pitch, code.width) as t, code.loop(0, size, code.width) as c:
            corner = code.add(code.mul(t.index, size), c.index)
            square = [code.load(code.at(loose, corner, code.mul(size, i))) for i in range(code.width)]
            for i, vector in enumerate(code.transpose(square)):
                code.store(vector, code.at(keys, in_panel(code, code.add(c.index, i), t.index, size)))


def in_panel(code: Code, row: Value, column: Value, rows: Value) -> Value:
    """Where a matrix in panels of ``rows`` rows has its number at (row, column)."""
    panel = code.div(column, code.columns)
    lane = code.sub(column, code.mul(panel, code.columns))
    return code.add(code.mul(code.add(code.mul(panel, rows), row), code.columns), lane)


def _softmax(code: Code) -> None:
    """Rows of logits to exponentials in place, and one over their sum per row."""
    with code.function("softmax", "logits shares", "rows pitch", inner=True) as given:
        logits, shares, rows, pitch = given
        b = code.b
        with code.loop(0, rows) as row:
            line = code.at(logits, code.mul(row.index, pitch))
            first = [code.load(code.at(line, v * code.width)) for v in (0, 1)]
            with code.loop(code.columns, pitch, code.columns, first) as c:
                c.carry(
                    [
                        code.larger(best, code.load(code.at(line, c.index, v * code.width)))
                        for v, best in enumerate(c.values)
                    ]
                )
            greatest = code.everywhere(code.greatest(code.larger(*c.values)))
            with code.loop(0, pitch, code.columns, [code.everywhere(0.0)] * 2) as c:
                sums = []
                for v, total in enumerate(c.values):
                    at = code.at(line, c.index, v * code.width)
                    y = code.exponential(b.fsub(code.load(at), greatest))
                    code.store(y, at)
                    sums.append(b.fadd(total, y))
                c.carry(sums)
            total = code.total(b.fadd(*c.values))
            b.store(b.fdiv(code.float32(1.0), total), code.at(shares, row.index))


def _window_attention(code: Code) -> None:
    """Windows ``first`` to ``last`` of a row of windows, whose first pixel row is ``top`` of ``height`` rows.

    ``qkv`` holds per pixel of ``span`` columns, the first of which belongs to window ``first``, and per head
    a query (scaled), a key and a value of ``size`` numbers; ``padding`` the same for a pixel outside.
    ``bias`` is (heads, n, pitch), very negative beyond n = window**2; ``pitch`` is n, rounded up to whole
    panels. ``out`` is as ``qkv``, of channels. ``room`` wants ``room_for_windows`` floats, all finite, the first
    ``pitch + size`` of them zero: the products' biases.
    """
    places, numbers = "qkv padding bias out room", "windows rows span window heads size pitch"
    with code.function("window_attention", places, numbers) as given:
        qkv, padding, bias, out, room, windows, rows, span, window, heads, size, pitch = given
        n = code.mul(window, window)
        numbers = code.mul(pitch, size)
        queries = code.at(room, pitch, size)
        loose = code.at(queries, numbers)
        values, mixed, keys, logits = (code.at(loose, code.mul(numbers, i)) for i in (1, 2, 3, 4))
        shares = code.at(logits, code.mul(n, pitch))
        channels = code.mul(heads, size)
        pixel = code.mul(channels, 3)
        with code.loop(0, windows) as cell, code.loop(0, heads) as head:
            left = code.mul(cell.index, window)
            across = code.least(window, code.sub(span, left))
            offset = code.mul(head.index, size, 3)
            code.call(
                "gather",
                *(code.at(qkv, code.mul(left, pixel), offset), code.at(padding, offset)),
                *(queries, keys, values, loose),
                *(window, rows, across, size, code.mul(span, pixel), pixel, pitch),
            )
            code.call(
                "product_add",
                *(queries, keys, room, code.at(bias, code.mul(head.index, n, pitch)), logits, n),
                *(code.div(pitch, code.columns), size, 1, size, 0, pitch, pitch, n),
            )
            code.call("softmax", logits, shares, n, pitch)
            code.call(
                "product_plain",
                *(logits, values, room, room, mixed, n, code.div(size, code.columns)),
                *(pitch, 1, n, 0, 0, size, n),
            )
            target = code.at(out, code.mul(left, channels), code.mul(head.index, size))
            with code.loop(0, rows) as y, code.loop(0, across) as x:
                t = code.add(code.mul(y.index, window), x.index)
                share = code.spread(code.at(shares, t))
                to = code.at(target, code.mul(code.add(code.mul(y.index, span), x.index), channels))
                with code.loop(0, size, code.width) as c:
                    value = code.load(code.at(mixed, code.mul(t, size), c.index))
                    code.store(code.b.fmul(value, share), code.at(to, c.index))


def room_for_windows(window: int, size: int, pitch: int) -> int:
    """Floats that attention within a window needs."""
    return pitch + size + 5 * pitch * size + window**2 * (pitch + 1)


def _attention_band(code: Code) -> None:
    """``out = x + proj(attention(qkv(norm(x))))`` for some windows of a row of windows.

    They are ``rows`` x ``span`` pixels at ``x``, in a map of ``width`` columns. Both products' results stay in
    ``room``: ``rows * span`` pixels of 4 * channels, ``strip`` of channels, and what the attention wants, first.
    """
    places = "x norm qkv qkv_bias padding bias proj proj_bias out room"
    numbers = "rows span width window heads size pitch ldo strip attention_room"
    with code.function("attention_band", places, numbers) as given:
        x, norm, qkv, qkv_bias, padding, bias, proj, proj_bias, out, room, *rest = given
        rows, span, width, window, heads, size, pitch, ldo, strip, attention_room = rest
        channels = code.mul(heads, size)
        wide = code.mul(channels, 3)
        asked = code.at(room, attention_room)
        seen = code.at(asked, code.mul(rows, span, wide))
        normed = code.at(seen, code.mul(rows, span, channels))
        with code.loop(0, rows) as y:
            code.call(
                "normed_product",
                *(code.at(x, code.mul(y.index, width, channels)), norm, qkv, qkv_bias),
                *(code.at(asked, code.mul(y.index, span, wide)), normed),
                *(span, channels, code.div(wide, code.columns), wide, strip),
            )
        windows = code.div(code.add(span, code.sub(window, 1)), window)
        code.call(
            "window_attention",
            *(asked, padding, bias, seen, room, windows, rows, span, window, heads, size, pitch),
        )
        with code.loop(0, rows) as y:
            here = code.mul(y.index, width)
            code.call(
                "product_add",
                *(code.at(seen, code.mul(y.index, span, channels)), proj, proj_bias),
                *(code.at(x, code.mul(here, channels)), code.at(out, code.mul(here, ldo)), span),
                *(code.div(channels, code.columns), channels, 1, channels, 0, channels, ldo, strip),
            )


def _few_keys(code: Code) -> None:
    """``out = norm(x + softmax((x + position).keys + offset) @ values)`` for ``rows`` rows, heads side by side.

    Keys and values of all heads are packed as one matrix each, ``heads`` groups of ``group`` keys, whole vectors;
    where a group has fewer keys ``offset`` is very negative. ``room`` wants ``strip`` rows of twice the channels
    and the keys.
    """
    places = "x position keys offset values bias norm out room"
    with code.function("few_keys", places, "rows channels heads group strip") as given:
        x, position, keys, offset, values, bias, norm, out, room, rows, channels, heads, group, strip = given
        b, w = code.b, code.width
        many = code.mul(heads, group)
        placed, mixed = room, code.at(room, code.mul(strip, channels))
        logits = code.at(mixed, code.mul(strip, channels))
        with code.loop(0, rows, strip) as top:
            have = code.least(strip, code.sub(rows, top.index))
            here = code.mul(top.index, channels)
            with code.loop(0, code.mul(have, channels), w) as i:
                both = [code.load(code.at(place, here, i.index)) for place in (x, position)]
                code.store(b.fadd(*both), code.at(placed, i.index))
            code.call(
                "product_plain",
                *(placed, keys, offset, x, logits, have, code.div(many, code.columns)),
                *(channels, 1, channels, 0, 0, many, strip),
            )
            with code.loop(0, code.mul(have, many), group) as start:
                line = code.at(logits, start.index)
                with code.loop(w, group, w, [code.load(line)]) as c:
                    c.carry([code.larger(c.values[0], code.load(code.at(line, c.index)))])
                greatest = code.everywhere(code.greatest(c.values[0]))
                with code.loop(0, group, w, [code.everywhere(0.0)]) as c:
                    y = code.exponential(b.fsub(code.load(code.at(line, c.index)), greatest))
                    code.store(y, code.at(line, c.index))
                    c.carry([b.fadd(c.values[0], y)])
                share = code.everywhere(b.fdiv(code.float32(1.0), code.total(c.values[0])))
                with code.loop(0, group, w) as c:
                    at = code.at(line, c.index)
                    code.store(b.fmul(code.load(at), share), at)
            code.call(
                "product_add",
                *(logits, values, bias, code.at(x, here), mixed, have, code.div(channels, code.columns)),
                *(many, 1, many, 0, channels, channels, strip),
            )
            code.call("norm", mixed, norm, code.at(out, here), have, channels, channels, channels)
