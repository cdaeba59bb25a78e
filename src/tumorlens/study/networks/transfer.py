"""Transfer learning: a backbone from Keras Applications under a head of our own.

What the family was trained to see is made inside the graph from prepared bytes, so nobody
who runs it can feed it another family's preprocessing.
"""

from collections.abc import Sequence

import keras
from keras import layers, ops

from tumorlens.errors import TrainingError
from tumorlens.study.networks.families import FAMILIES, SEEN_AS, Family

ALL_BLOCKS = -1


def build_transfer(
    side: int,
    atoms: int,
    *,
    family: str,
    dense: Sequence[int] = (),
    dropout: float = 0.2,
    attention: bool = False,
    seen_as: str = "",
) -> keras.Model:
    """Build uint8 [n, side, side, 1] -> logits [n, atoms], with random weights.

    `dense` gives the widths of hidden layers between the pooled features and the logits;
    `attention` weighs positions before they are pooled; `seen_as` names a row of SEEN_AS
    instead of what the family was trained to see.
    """
    row = FAMILIES[family]
    seen = SEEN_AS[seen_as] if seen_as else row.sees
    scan = keras.Input((side, side, 1), dtype="uint8", name="scan")
    x = layers.Concatenate(name="channels")([scan] * 3)
    x = layers.Rescaling(seen.scale, seen.offset, name="seen")(x)
    backbone = exportable(application(row, side))
    x = backbone(x)
    if attention:
        x = _attended(x)
    x = layers.Activation("linear", name="features")(x)
    x = layers.GlobalAveragePooling2D(name="pooled")(x)
    for width in dense:
        x = layers.Dense(width, activation="relu")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    # The name also tells cached features apart, which weights alone would not.
    name = f"transfer-{family}" + (f"-as-{seen_as}" if seen_as else "")
    return keras.Model(scan, layers.Dense(atoms, name="atoms")(x), name=name)


def _attended(maps: keras.KerasTensor) -> keras.KerasTensor:
    """Weigh the positions of maps [n, h, w, d] by learned attention (Ilse et al., 2018).

    The weights have a mean of 1, so pooling afterwards is a weighted mean, and it starts as the
    plain one. A lesion in one position is not thinned out by all the others.
    """
    _, height, width, _ = maps.shape
    score = layers.Conv2D(1, 1, kernel_initializer="zeros", name="attention_score")(maps)
    share = layers.Softmax(name="attention_share")(layers.Flatten(name="attention_flat")(score))
    weight = layers.Rescaling(float(height * width), name="attention_weight")(share)
    weight = layers.Reshape((height, width, 1), name="attention")(weight)
    return layers.Multiply(name="attended")([maps, weight])


def application(family: Family, side: int, weights: str | None = None) -> keras.Model:
    """Return the network of Keras Applications, [n, side, side, 3] -> feature maps."""
    return family.make(
        include_top=False, weights=weights, input_shape=(side, side, 3), **family.options
    )


def exportable(model: keras.Model) -> keras.Model:
    """Rewrite what TensorFlow cannot export to ONNX, with its weights in the same order.

    On a CPU it compiles a convolution with a group per channel by XLA, which cannot be exported;
    GELU becomes an operation (Erfc) that ONNX does not have. A depthwise convolution and GELU by
    the error function are the same arithmetic.
    """
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
    """Return x times the normal distribution function of x."""
    return 0.5 * x * (1.0 + ops.erf(x / 2**0.5))


def fill_backbone(backbone: keras.Model, donor: keras.Model) -> None:
    """Copy the weights of a network of Keras Applications into the backbone made from it."""
    values = donor.get_weights()
    # A grouped kernel [h, w, 1, c] is the depthwise [h, w, c, 1] number by number.
    backbone.set_weights(
        [value.reshape(v.shape) for v, value in zip(backbone.weights, values, strict=True)]
    )


def backbone_of(model: keras.Model) -> keras.Model | None:
    """Return the network inside a network that transfers, None for one from scratch."""
    inside = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    return inside[0] if inside else None


def extractor(model: keras.Model) -> keras.Model:
    """Return the part from prepared images to pooled features, [n, side, side, 1] -> [n, D]."""
    return keras.Model(model.input, _pooling(model).output, name="extractor")


def head_of(model: keras.Model) -> keras.Model:
    """Return the part from pooled features to logits, [n, D] -> [n, A]; it shares its layers."""
    pooled = _pooling(model)
    entry = x = keras.Input(pooled.output.shape[1:], name="pooled")
    for layer in model.layers[model.layers.index(pooled) + 1 :]:
        x = layer(x)
    return keras.Model(entry, x, name="head")


def _pooling(model: keras.Model) -> keras.Layer:
    layer = model.layers[model.layers.index(model.get_layer("features")) + 1]
    if not isinstance(layer, layers.GlobalAveragePooling2D):
        fix = "Take a recipe whose network pools its last maps, or one without epochs of the head."
        raise TrainingError(model.name, "flattens its maps, so its head has no features", fix)
    return layer


def freeze(model: keras.Model, family: str, *, blocks: int, keep_statistics: bool) -> None:
    """Let only the head and the last `blocks` of the backbone learn; ALL_BLOCKS for all.

    With `keep_statistics` batch normalization of the backbone runs as in use and keeps what
    it came with: few scans in a batch, all gray, would spoil what many photographs taught it.
    """
    backbone = backbone_of(model)
    if backbone is None:
        return
    names = [layer.name for layer in backbone.layers]
    first = 0
    if blocks != ALL_BLOCKS:
        first = names.index(FAMILIES[family].starts[blocks - 1]) + 1 if blocks else len(names)
    for index, layer in enumerate(backbone.layers):
        kept = keep_statistics and isinstance(layer, layers.BatchNormalization)
        layer.trainable = index >= first and not kept
