"""Attention of a plain ViT: decomposed relative positions, within windows or over a whole map.

``softmax(q.k + q.R_h + q.R_w)``: a key in row ky and column kx of its window adds the query's product with a
vector for ky and one for kx (see :mod:`vis.hqsam.network.vit`). Keys are laid out in rows of ``line`` numbers, the
window's side rounded up to whole panels, so that a query's products with the column vectors are added row by row;
behind the side they are very negative, and no key there counts.

Queries come ``QUERIES`` at a time and keys some rows at a time, and only so many logits exist at once. A running
greatest logit, sum and weighted mean are carried from rows to rows (Rabe and Staats, arXiv 2112.05682).
"""

from __future__ import annotations

from vis.hqsam.simd.attention import in_panel
from vis.hqsam.simd.code import Code, Value

__all__ = ["QUERIES", "room_for_positions", "rows_of_keys", "write_position_attention"]

QUERIES = 96
_KEYS = 256
"""Keys at a time: their logits for 96 queries are 96 KiB."""


def rows_of_keys(window: int, line: int) -> int:
    """Rows of a window's keys that are taken at a time."""
    return max(1, min(window, _KEYS // line))


def room_for_positions(window: int, line: int, size: int) -> int:
    """Floats that :func:`write_position_attention`'s function needs, all of them finite, the first zero."""
    keys = rows_of_keys(window, line) * line
    n, padded = window * window, window * line
    return max(keys, size) + n * size + 3 * padded * size + 2 * n * line + QUERIES * (keys + size + 2)


def write_position_attention(code: Code) -> None:
    """Function ``position_attention``; wants the products written before."""
    _load(code)
    _weigh(code)
    _position_attention(code)


def _load(code: Code) -> None:
    """Queries as rows, keys and values of one window and head as panels; see ``attention._gather``."""
    places = "source padding queries keys values loose"
    numbers = "window down across size channels width line rows"
    with code.function("load_window", places, numbers, inner=True) as given:
        source, padding, queries, keys, values, loose, *rest = given
        window, down, across, size, channels, width, line, rows = rest
        b = code.b
        pixel = code.mul(channels, 3)
        with code.loop(0, window) as y, code.loop(0, window) as x:
            inside = b.and_(b.icmp_signed("<", y.index, down), b.icmp_signed("<", x.index, across))
            there = code.at(source, code.mul(code.add(code.mul(y.index, width), x.index), pixel))
            token = b.select(inside, there, padding)
            query = code.mul(code.add(code.mul(y.index, window), x.index), size)
            key = code.mul(code.add(code.mul(y.index, line), x.index), size)
            first = code.mul(code.div(y.index, rows), rows)
            among = code.mul(code.least(rows, code.sub(window, first)), line)
            place = code.add(code.mul(code.sub(y.index, first), line), x.index)
            block = code.at(values, code.mul(first, line, size))
            with code.loop(0, size, code.width) as c:
                code.store(code.load(code.at(token, c.index)), code.at(queries, query, c.index))
                code.store(code.load(code.at(token, channels, c.index)), code.at(loose, key, c.index))
                value = code.load(code.at(token, channels, channels, c.index))
                code.store(value, code.at(block, in_panel(code, place, c.index, among)))
        padded = code.mul(window, line)
        with code.loop(0, padded, code.width) as t, code.loop(0, size, code.width) as c:
            corner = code.add(code.mul(t.index, size), c.index)
            square = [code.load(code.at(loose, corner, code.mul(size, i))) for i in range(code.width)]
            for i, vector in enumerate(code.transpose(square)):
                code.store(vector, code.at(keys, in_panel(code, code.add(c.index, i), t.index, size)))


def _weigh(code: Code) -> None:
    """Logits of some queries with some rows of keys to exponentials in place, and what is carried to match.

    ``state`` holds each query's greatest logit and sum so far, ``mean`` its weighted sum of values.
    """
    places, numbers = "logits by_row by_column state mean", "queries rows line size"
    with code.function("weigh", places, numbers, inner=True) as given:
        logits, by_row, by_column, state, mean, queries, rows, line, size = given
        b, w = code.b, code.width
        pitch = code.mul(rows, line)
        with code.loop(0, queries) as q:
            numbers = code.at(logits, code.mul(q.index, pitch))
            columns = code.at(by_column, code.mul(q.index, line))
            before = code.spread(code.at(state, code.mul(q.index, 2)))
            with code.loop(0, rows, 1, [before]) as y:
                row = code.spread(code.at(by_row, code.mul(q.index, line), y.index))
                here = code.at(numbers, code.mul(y.index, line))
                with code.loop(0, line, w, y.values) as c:
                    at = code.at(here, c.index)
                    x = b.fadd(code.load(at), b.fadd(row, code.load(code.at(columns, c.index))))
                    code.store(x, at)
                    c.carry([code.larger(c.values[0], x)])
                y.carry(c.values)
            greatest = code.everywhere(code.greatest(y.values[0]))
            factor = code.exponential(b.fsub(before, greatest))
            with code.loop(0, pitch, code.columns, [code.everywhere(0.0)] * 2) as c:
                sums = []
                for v, total in enumerate(c.values):
                    at = code.at(numbers, c.index, v * w)
                    y_value = code.exponential(b.fsub(code.load(at), greatest))
                    code.store(y_value, at)
                    sums.append(b.fadd(total, y_value))
                c.carry(sums)
            one = b.extract_element(factor, code.lane(0))
            total = code.total(b.fadd(*c.values))
            before_total = b.load(code.at(state, code.mul(q.index, 2), 1))
            b.store(b.extract_element(greatest, code.lane(0)), code.at(state, code.mul(q.index, 2)))
            b.store(b.fadd(b.fmul(before_total, one), total), code.at(state, code.mul(q.index, 2), 1))
            with code.loop(0, size, w) as c:
                at = code.at(mean, code.mul(q.index, size), c.index)
                code.store(b.fmul(code.load(at), factor), at)


def _position_attention(code: Code) -> None:
    """Heads of windows ``first`` to ``last``, counted head by head, of a map ``height`` x ``width``.

    ``qkv`` holds per pixel all heads' queries, then their keys (scaled), then their values, of ``size`` numbers
    each; ``padding`` the same for a pixel outside. ``by_row`` and ``by_column`` are the window's tables:
    for each query row or column a packed matrix of ``line`` columns, one for each key row or column;
    ``behind`` is zero and, behind the window's side, very negative. ``line`` is the side in whole panels.
    """
    places, numbers = (
        "qkv padding by_row by_column behind out room",
        "first last height width window heads size line",
    )
    with code.function("position_attention", places, numbers) as given:
        qkv, padding, by_row, by_column, behind, out, room, *rest = given
        first, last, height, width, window, heads, size, line = rest
        rows = code.most(1, code.least(window, code.div(code.number(_KEYS), line)))
        most_keys = code.mul(rows, line)
        n, padded = code.mul(window, window), code.mul(window, line)
        queries = code.at(room, code.most(most_keys, size))
        loose = code.at(queries, code.mul(n, size))
        keys, values, row_part = (code.at(loose, code.mul(padded, size, i)) for i in (1, 2, 3))
        column_part = code.at(row_part, code.mul(n, line))
        logits = code.at(column_part, code.mul(n, line))
        mean = code.at(logits, code.mul(most_keys, QUERIES))
        state = code.at(mean, code.mul(size, QUERIES))
        channels = code.mul(heads, size)
        panels, table = code.div(line, code.columns), code.mul(line, size)
        across_all = code.div(code.add(width, code.sub(window, 1)), window)
        with code.loop(first, last) as unit:
            cell = code.div(unit.index, heads)
            head = code.mul(code.sub(unit.index, code.mul(cell, heads)), size)
            row = code.div(cell, across_all)
            top = code.mul(row, window)
            left = code.mul(code.sub(cell, code.mul(row, across_all)), window)
            down, across = (
                code.least(window, code.sub(height, top)),
                code.least(window, code.sub(width, left)),
            )
            corner = code.mul(code.add(code.mul(top, width), left), channels)
            code.call(
                "load_window",
                *(
                    code.at(qkv, code.mul(corner, 3), head),
                    code.at(padding, head),
                    queries,
                    keys,
                    values,
                    loose,
                ),
                *(window, down, across, size, channels, width, line, rows),
            )
            across_window = code.mul(window, size)
            with code.loop(0, window) as i:
                code.call(
                    "product_plain",
                    *(
                        code.at(queries, code.mul(i.index, across_window)),
                        code.at(by_row, code.mul(i.index, table)),
                    ),
                    *(room, room, code.at(row_part, code.mul(i.index, padded)), window, panels),
                    *(size, 1, size, 0, 0, line, window),
                )
                code.call(
                    "product_plain",
                    *(
                        code.at(queries, code.mul(i.index, size)),
                        code.at(by_column, code.mul(i.index, table)),
                    ),
                    *(behind, room, code.at(column_part, code.mul(i.index, line)), window, panels),
                    *(across_window, 1, size, 0, 0, padded, window),
                )
            with code.loop(0, n, QUERIES) as query:
                have = code.least(QUERIES, code.sub(n, query.index))
                ours = code.at(queries, code.mul(query.index, size))
                _clear(code, state, mean, code.mul(have, size), have)
                with code.loop(0, window, rows) as y:
                    count = code.least(rows, code.sub(window, y.index))
                    many = code.mul(count, line)
                    block = code.mul(y.index, line, size)
                    code.call(
                        "product_plain",
                        *(ours, code.at(keys, block), room, room, logits, have, code.div(many, code.columns)),
                        *(size, 1, size, 0, 0, many, QUERIES),
                    )
                    code.call(
                        "weigh",
                        *(logits, code.at(row_part, code.mul(query.index, line), y.index)),
                        *(code.at(column_part, code.mul(query.index, line)), state, mean),
                        *(have, count, line, size),
                    )
                    code.call(
                        "product_add",
                        *(
                            logits,
                            code.at(values, block),
                            room,
                            mean,
                            mean,
                            have,
                            code.div(size, code.columns),
                        ),
                        *(many, 1, many, 0, size, size, QUERIES),
                    )
                _write(code, query.index, have, mean, state, code.at(out, corner, head), rest, (down, across))


def _clear(code: Code, state: Value, mean: Value, numbers: Value, have: Value) -> None:
    with code.loop(0, numbers, code.width) as i:
        code.store(code.everywhere(0.0), code.at(mean, i.index))
    with code.loop(0, have) as i:
        code.b.store(code.float32(-1e30), code.at(state, code.mul(i.index, 2)))
        code.b.store(code.float32(0.0), code.at(state, code.mul(i.index, 2), 1))


def _write(
    code: Code,
    start: Value,
    have: Value,
    mean: Value,
    state: Value,
    out: Value,
    rest: list[Value],
    inside: tuple[Value, Value],
) -> None:
    """Means over sums to those pixels of the map that exist."""
    _, _, _, width, window, heads, size, _ = rest
    b = code.b
    with code.loop(0, have) as q:
        t = code.add(start, q.index)
        y = code.div(t, window)
        x = code.sub(t, code.mul(y, window))
        share = code.everywhere(b.fdiv(code.float32(1.0), b.load(code.at(state, code.mul(q.index, 2), 1))))
        to = code.at(out, code.mul(code.add(code.mul(y, width), x), heads, size))
        with code.when(y, "<", inside[0]), code.when(x, "<", inside[1]), code.loop(0, size, code.width) as c:
            value = code.load(code.at(mean, code.mul(q.index, size), c.index))
            code.store(b.fmul(value, share), code.at(to, c.index))
