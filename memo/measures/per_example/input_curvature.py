"""Curvature of the loss in the pixels of an image: Garg, Ravikumar and Roy 2024, arXiv:2307.05831.

They average tr(H^2), H being the Hessian of the loss in the pixels, over the epochs of training, and estimate it from ten random
directions. Where a network is piecewise linear (ReLU), H = J' (diag(p) - p p') J with the outputs' Jacobian J and the softmax p, so
that tr(H^2) follows exactly from J J', ten by ten. It does not depend on the label.
"""

import jax
import jax.numpy as jnp

from memo.networks import mlp
from memo.networks.mlp import Layers
from memo.networks.program import Static, as_seen


def curvature(static: Static, layers: Layers, pixels: jax.Array, labels: jax.Array) -> jax.Array:
    """Return tr(H^2) [n] of the softmax cross-entropy of one network at images [n, pixels]; white is 1.

    For other activations than ReLU it is that of the Gauss-Newton part of H, without the curvature of the outputs themselves.
    """

    def outputs(image: jax.Array) -> jax.Array:
        return mlp.apply(layers, as_seen(static, image[None]), static.activation)[0]

    def of_image(image: jax.Array) -> jax.Array:
        values, pull = jax.vjp(outputs, image)
        jacobian = jax.vmap(lambda one: pull(one)[0])(jnp.eye(len(values)))
        p = jax.nn.softmax(values)
        product = (jnp.diag(p) - jnp.outer(p, p)) @ (jacobian @ jacobian.T)
        return jnp.sum(product * product.T)

    return jax.vmap(of_image)(pixels)
