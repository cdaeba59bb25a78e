"""The same network in operations that leave TensorFlow for ONNX.

On a CPU TensorFlow compiles a convolution with a group per channel by XLA, and what XLA
compiled cannot be exported; GELU becomes an operation (Erfc) that ONNX does not have. A
depthwise convolution and GELU by the error function are the same arithmetic.
"""

import keras
from keras import layers, ops


def exportable(model: keras.Model) -> keras.Model:
    """Rewrite what cannot be exported, with its weights in the same order; or give `model`."""
    if not any(_rewritten(layer) for layer in model.layers):
        return model
    return keras.models.clone_model(
        model, clone_function=lambda layer: _rewritten(layer) or _copied(layer)
    )


def _rewritten(layer: keras.Layer) -> keras.Layer | None:
    if isinstance(layer, layers.Conv2D) and layer.groups > 1:
        return layers.DepthwiseConv2D(
            layer.kernel_size, strides=layer.strides, padding=layer.padding, name=layer.name
        )
    if isinstance(layer, layers.Activation) and layer.activation is keras.activations.gelu:
        return layers.Activation(gelu_by_erf, name=layer.name)
    return None


def _copied(layer: keras.Layer) -> keras.Layer:
    return layer.__class__.from_config(layer.get_config())


def gelu_by_erf(x):
    """Give x times the normal distribution function of x."""
    return 0.5 * x * (1.0 + ops.erf(x / 2**0.5))
