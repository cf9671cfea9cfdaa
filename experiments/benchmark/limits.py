"""The machine's own limits: how fast it multiplies square matrices and how fast it copies an array.

Each function returns (run, amount): `run()` does the work and waits for it; `amount` is what one call does, in FLOP or
in bytes read and written.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

Limit = tuple[Callable[[], object], float]


def xla_sgemm(side: int, times: int, everywhere: bool) -> Limit:
    """Multiply square float32 matrices by XLA: one product at a time, or one on each device (CPU core) at once."""
    # Orthogonal-like in scale, so that a chain of products neither overflows nor becomes denormal.
    matrix = np.random.default_rng(0).standard_normal((side, side)).astype(np.float32) / np.float32(np.sqrt(side))

    def chain(factor: jax.Array) -> jax.Array:
        return lax.fori_loop(0, times, lambda _, product: product @ factor, factor)

    if not everywhere:
        program, operand = jax.jit(chain), jnp.asarray(matrix)
    else:
        mesh, split = _devices()
        alone = jax.shard_map(lambda own: chain(own[0])[None], mesh=mesh, in_specs=P("device"), out_specs=P("device"))
        program = jax.jit(alone)
        operand = jax.device_put(np.stack([matrix] * mesh.size), split)
    return lambda: jax.block_until_ready(program(operand)), 2.0 * side**3 * times * (len(operand) if everywhere else 1)


def xla_copy(length: int, times: int) -> Limit:
    """Read and write an array of `length` bytes by XLA, spread over all devices."""
    mesh, split = _devices()

    def chain(array: jax.Array) -> jax.Array:
        return lax.fori_loop(0, times, lambda _, array: array + 1, array)  # a plain copy would be optimised away

    program = jax.jit(
        jax.shard_map(chain, mesh=mesh, in_specs=P("device"), out_specs=P("device")),
        donate_argnums=0,  # in place: memory that is touched for the first time is slow
    )
    floats = length // 4 // mesh.size * mesh.size
    array = jax.device_put(np.zeros(floats, np.float32), split)

    def run() -> None:
        nonlocal array
        array = jax.block_until_ready(program(array))

    return run, 2.0 * 4 * floats * times


def _devices() -> tuple[Mesh, NamedSharding]:
    mesh = Mesh(np.array(jax.devices()), ("device",))
    return mesh, NamedSharding(mesh, P("device"))
