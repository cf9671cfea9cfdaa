"""The first layer as a product with images that are mostly zeros, compiled by numba; needs the extra [fast], and a CPU.

    images [batch, pixels] bytes ──> by image: pixels and values ──> values [batch, units]
                                 └─> by pixel: images and values ──> gradient [pixels, units]

Four fifths of MNIST's pixels are zero. Reading only the others makes a whole step 1.25 to 1.5 times as fast at widths 16 to
512 (docs/performance.md): that is what the machine code below repays. Each sum runs over its terms in the order in which
a dense product takes them, for every unit alike, whichever units stand beside it.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap
from llvmlite import ir
from numba import carray, cfunc, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

# Units whose sums stand in registers at a time, eight of AVX2; weights are padded to a multiple of it.
UNITS = 64
# Images whose lists are held at a time where no gradient is asked for: few enough to stay in the cache.
LISTED = 64


@intrinsic
def _gathered_sum(typing: Any, out: Any, table: Any, stride: Any, places: Any, factors: Any, count: Any) -> Any:
    """out[:UNITS] = sum over k < count of factors[k] · table[stride · places[k] :][:UNITS]; arrays are addresses."""
    number, int32, int64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
    vector, lanes = ir.VectorType(number, UNITS), ir.VectorType(int32, UNITS)
    zero, one, four = (ir.Constant(int64, value) for value in (0, 1, 4))
    none = ir.Constant(vector, [0.0] * UNITS)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: list[ir.Value]) -> ir.Value:
        out, table, stride, places, factors, count = arguments

        def at(address: ir.Value, kind: ir.Type) -> ir.Value:
            return builder.inttoptr(address, ir.PointerType(kind))

        def everywhere(factor: ir.Value) -> ir.Value:
            undefined = ir.Constant(vector, ir.Undefined)
            first = builder.insert_element(undefined, factor, ir.Constant(int32, 0))
            return builder.shuffle_vector(first, undefined, ir.Constant(lanes, [0] * UNITS))

        before, body, end = builder.block, builder.append_basic_block(), builder.append_basic_block()
        builder.cbranch(builder.icmp_signed("<", zero, count), body, end)
        builder.position_at_end(body)
        k, total = builder.phi(int64), builder.phi(vector)
        offset = builder.mul(k, four)
        place = builder.sext(builder.load(at(builder.add(places, offset), int32)), int64)
        factor = builder.load(at(builder.add(factors, offset), number))
        row = builder.load(at(builder.add(table, builder.mul(builder.mul(place, stride), four)), vector), align=4)
        # One rounding for both, as in dense products; nothing is put in another order.
        product = builder.fmul(row, everywhere(factor), flags=("contract",))
        more, following = builder.fadd(total, product, flags=("contract",)), builder.add(k, one)
        for phi, start, then in ((k, zero, following), (total, none, more)):
            phi.add_incoming(start, before)
            phi.add_incoming(then, body)
        builder.cbranch(builder.icmp_signed("<", following, count), body, end)
        builder.position_at_end(end)
        result = builder.phi(vector)
        result.add_incoming(none, before)
        result.add_incoming(more, body)
        builder.store(result, at(out, vector), align=4)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 6), generate


@intrinsic
def _pointer(typing: Any, address: Any) -> Any:
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: list[ir.Value]) -> ir.Value:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(address), generate


# A call of XLA's foreign function interface is a C struct of words (xla/ffi/api/c_api.h): these are the places in it.
_EXTENSION, _API, _ARGUMENTS, _RESULTS, _FRAME = 1, 2, 9, 14, 15
_DATA, _RANK, _SIZES, _BUFFER = 3, 4, 5, 6


@njit(nogil=True)
def _asked_for_metadata(frame):  # type: ignore[no-untyped-def]
    """Return whether XLA asks which version of the interface this is, and answer: its own."""
    if frame[_EXTENSION] == 0:
        return False
    words = carray(_pointer(frame[_EXTENSION]), (4,), np.int64)
    if carray(_pointer(frame[_EXTENSION]), (8,), np.int32)[2] != 1:
        return False
    metadata = carray(_pointer(words[3]), (10,), np.int32)
    version = carray(_pointer(frame[_API]), (10,), np.int32)
    metadata[6], metadata[7], metadata[8] = version[8], version[9], 0
    return True


@njit(nogil=True)
def _buffer(frame, which, place):  # type: ignore[no-untyped-def]
    """Return the address of an argument's or a result's numbers, and their sizes (slabs, rows, columns)."""
    words = carray(_pointer(carray(_pointer(frame[which]), (8,), np.int64)[place]), (_BUFFER,), np.int64)
    rank = words[_RANK]
    sizes = carray(_pointer(words[_SIZES]), (rank,), np.int64)
    slabs = 1
    for axis in range(rank - 2):
        slabs *= sizes[axis]
    return words[_DATA], slabs, sizes[rank - 2], sizes[rank - 1]


@njit(nogil=True)
def _list_by_image(images, by_image, pixel, value):  # type: ignore[no-untyped-def]
    """List what is not zero in images [batch, pixels], image by image; the list of one begins at `by_image`[row]."""
    batch, pixels = images.shape
    k = 0
    whole = pixels - pixels % 8
    for row in range(batch):
        by_image[row] = k
        seen = images[row]
        eights = seen[:whole].view(np.uint64)
        for eight in range(len(eights)):
            if eights[eight] != 0:
                for column in range(8 * eight, 8 * eight + 8):
                    pixel[k], value[k] = column, seen[column] * np.float32(1 / 255)
                    k += np.int64(seen[column] != 0)  # without a branch: a zero is written over
        for column in range(whole, pixels):
            if seen[column] != 0:
                pixel[k], value[k] = column, seen[column] * np.float32(1 / 255)
                k += 1
    by_image[batch] = k


@njit(nogil=True)
def _list_by_pixel(by_image, pixel, value, by_pixel, image, value_of):  # type: ignore[no-untyped-def]
    """List the same pixel by pixel, the images of each ascending; the list of one begins at `by_pixel`[column]."""
    begin = np.zeros(len(by_pixel), np.int64)
    listed = by_image[-1]
    for k in range(listed):
        begin[pixel[k] + 1] += 1
    for column in range(1, len(by_pixel)):
        begin[column] += begin[column - 1]
    by_pixel[:] = begin
    for row in range(len(by_image) - 1):
        for place in range(by_image[row], by_image[row + 1]):
            k = begin[pixel[place]]
            image[k], value_of[k] = row, value[place]
            begin[pixel[place]] = k + 1


@njit(nogil=True)
def _add_up(by_image, pixel, value, table, units, out):  # type: ignore[no-untyped-def]
    """Write the products of listed images with weights [pixels, units] at the address `table` to those at `out`."""
    for unit in range(0, units, UNITS):  # these columns of the weights stay in the cache
        for row in range(len(by_image) - 1):
            start = by_image[row]
            places, factors = pixel.ctypes.data + 4 * start, value.ctypes.data + 4 * start
            to = out + 4 * (row * units + unit)
            _gathered_sum(to, table + 4 * unit, units, places, factors, by_image[row + 1] - start)


@cfunc(types.intp(types.voidptr), nogil=True, cache=True)
def _values_of(call):  # type: ignore[no-untyped-def]
    """images, weights -> values, and the list by pixel for the gradient."""
    frame = carray(call, (_FRAME,), np.int64)
    if _asked_for_metadata(frame):
        return 0
    images, slabs, batch, pixels = _buffer(frame, _ARGUMENTS, 0)
    weights, _, _, units = _buffer(frame, _ARGUMENTS, 1)
    values, by_pixel, image, value_of = [_buffer(frame, _RESULTS, place)[0] for place in range(4)]
    most = batch * pixels
    by_image = np.empty(batch + 1, np.int32)
    pixel, value = np.empty(most + 1, np.int32), np.empty(most + 1, np.float32)
    for slab in range(slabs):
        _list_by_image(carray(_pointer(images + slab * most), (batch, pixels), np.uint8), by_image, pixel, value)
        _list_by_pixel(
            by_image,
            pixel,
            value,
            carray(_pointer(by_pixel + 4 * slab * (pixels + 1)), (pixels + 1,), np.int32),
            carray(_pointer(image + 4 * slab * most), (most,), np.int32),
            carray(_pointer(value_of + 4 * slab * most), (most,), np.float32),
        )
        table, out = weights + 4 * slab * pixels * units, values + 4 * slab * batch * units
        _add_up(by_image, pixel, value, table, units, out)
    return 0


@cfunc(types.intp(types.voidptr), nogil=True, cache=True)
def _product_of(call):  # type: ignore[no-untyped-def]
    """images, weights -> values, where no gradient is asked for: no list by pixel."""
    frame = carray(call, (_FRAME,), np.int64)
    if _asked_for_metadata(frame):
        return 0
    images, slabs, batch, pixels = _buffer(frame, _ARGUMENTS, 0)
    weights, _, _, units = _buffer(frame, _ARGUMENTS, 1)
    values, _, _, _ = _buffer(frame, _RESULTS, 0)
    most = min(batch, LISTED)
    pixel, value = np.empty(most * pixels + 1, np.int32), np.empty(most * pixels + 1, np.float32)
    for slab in range(slabs):
        for first in range(0, batch, most):
            rows, start = min(most, batch - first), slab * batch + first
            by_image = np.empty(rows + 1, np.int32)
            _list_by_image(carray(_pointer(images + start * pixels), (rows, pixels), np.uint8), by_image, pixel, value)
            _add_up(by_image, pixel, value, weights + 4 * slab * pixels * units, units, values + 4 * start * units)
    return 0


@cfunc(types.intp(types.voidptr), nogil=True, cache=True)
def _gradient_of(call):  # type: ignore[no-untyped-def]
    """the list by pixel, slopes of the values -> slopes of the weights."""
    frame = carray(call, (_FRAME,), np.int64)
    if _asked_for_metadata(frame):
        return 0
    by_pixel, image, value_of = [_buffer(frame, _ARGUMENTS, place)[0] for place in range(3)]
    slopes, slabs, batch, units = _buffer(frame, _ARGUMENTS, 3)
    gradient, _, pixels, _ = _buffer(frame, _RESULTS, 0)
    most = batch * pixels
    block = np.empty((batch, UNITS), np.float32)
    for slab in range(slabs):
        starts = carray(_pointer(by_pixel + 4 * slab * (pixels + 1)), (pixels + 1,), np.int32)
        slope = carray(_pointer(slopes + 4 * slab * batch * units), (batch, units), np.float32)
        for unit in range(0, units, UNITS):
            block[:] = slope[:, unit : unit + UNITS]
            for column in range(pixels):
                start, place = starts[column], 4 * (slab * most + starts[column])
                to = gradient + 4 * ((slab * pixels + column) * units + unit)
                _gathered_sum(to, block.ctypes.data, UNITS, image + place, value_of + place, starts[column + 1] - start)
    return 0


for _name, _call in {
    "memo_sparse_product": _product_of,
    "memo_sparse_values": _values_of,
    "memo_sparse_gradient": _gradient_of,
}.items():
    jax.ffi.register_ffi_target(_name, jax.ffi.pycapsule(_call.address), platform="cpu")


def _shape(like: jax.Array, *sizes: int, dtype: Any = jnp.float32) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((*like.shape[:-2], *sizes), dtype)


def _padded(weights: jax.Array) -> jax.Array:
    missing = -weights.shape[-1] % UNITS
    return jnp.pad(weights, [(0, 0)] * (weights.ndim - 1) + [(0, missing)]) if missing else weights


def _call_values(images: jax.Array, weights: jax.Array) -> tuple[jax.Array, ...]:
    (batch, pixels), units = images.shape[-2:], weights.shape[-1]
    wide = _padded(weights)
    lists = (
        _shape(images, 1, pixels + 1, dtype=jnp.int32),
        _shape(images, batch, pixels, dtype=jnp.int32),
        _shape(images, batch, pixels),
    )
    call = jax.ffi.ffi_call(
        "memo_sparse_values", (_shape(images, batch, wide.shape[-1]), *lists), vmap_method="broadcast_all"
    )
    values, *listed = call(images, wide)
    return values[..., :units], *listed


def _call_product(images: jax.Array, weights: jax.Array) -> jax.Array:
    batch, units, wide = images.shape[-2], weights.shape[-1], _padded(weights)
    call = jax.ffi.ffi_call("memo_sparse_product", _shape(images, batch, wide.shape[-1]), vmap_method="broadcast_all")
    return call(images, wide)[..., :units]


def _call_gradient(starts: jax.Array, image: jax.Array, value: jax.Array, slopes: jax.Array) -> jax.Array:
    pixels, units, wide = image.shape[-1], slopes.shape[-1], _padded(slopes)
    call = jax.ffi.ffi_call("memo_sparse_gradient", _shape(slopes, pixels, wide.shape[-1]), vmap_method="broadcast_all")
    return call(starts, image, value, wide)[..., :units]


def _side_by_side(units: jax.Array) -> jax.Array:
    """Return [networks, rows, units] as the columns of one array."""
    return jnp.moveaxis(units, 0, 1).reshape(units.shape[1], -1)


def _apart(columns: jax.Array, networks: int) -> jax.Array:
    return jnp.moveaxis(columns.reshape(len(columns), networks, -1), 1, 0)


@custom_vmap
def _product(images: jax.Array, weights: jax.Array) -> jax.Array:
    return _call_product(images, weights)


@_product.def_vmap
def _(networks: int, batched: list[bool], images: jax.Array, weights: jax.Array) -> tuple[jax.Array, bool]:
    if all(batched):
        return jax.vmap(_call_product)(images, weights), True
    # The networks of a pack read the same images; where all packs do, their columns stand side by side once more.
    return _apart(_product(images, _side_by_side(weights)), networks), True


@custom_vmap
def _values(images: jax.Array, weights: jax.Array) -> tuple[jax.Array, ...]:
    return _call_values(images, weights)


@_values.def_vmap
def _(networks: int, batched: list[bool], images: jax.Array, weights: jax.Array) -> tuple[Any, Any]:
    if all(batched):
        return jax.vmap(_call_values)(images, weights), (True,) * 4
    values, *listed = _call_values(images, _side_by_side(weights))  # the networks of a pack read the same images
    return (_apart(values, networks), *listed), (True, False, False, False)


@custom_vmap
def _gradient(starts: jax.Array, image: jax.Array, value: jax.Array, slopes: jax.Array) -> jax.Array:
    return _call_gradient(starts, image, value, slopes)


@_gradient.def_vmap
def _(networks: int, batched: list[bool], *read: jax.Array) -> tuple[jax.Array, bool]:
    if all(batched):
        return jax.vmap(_call_gradient)(*read), True
    starts, image, value, slopes = read
    return _apart(_call_gradient(starts, image, value, _side_by_side(slopes)), networks), True


@jax.custom_vjp
def product(images: jax.Array, weights: jax.Array) -> jax.Array:
    """Return images / 255 times weights, [batch, units]; images [batch, pixels] uint8, weights [pixels, units] float32.

    Differentiable in the weights. Under `jax.vmap`, either the weights have the axis or both arguments have it.
    """
    return _product(images, weights)


def _forward(images: jax.Array, weights: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    values, *listed = _values(images, weights)
    return values, tuple(listed)


product.defvjp(_forward, lambda listed, slopes: (None, _gradient(*listed, slopes)))
