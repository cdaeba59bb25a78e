"""EfficientNet-Lite: its maps, its attention, its published weights."""

import keras
import numpy as np
import pytest

from tumorlens.inputs.prepare import InputSpec, prepare
from tumorlens.labels import ATOMS
from tumorlens.records import Scan
from tumorlens.study.networks.efficientnet_lite import build_efficientnet_lite
from tumorlens.study.networks.registry import NETWORKS
from tumorlens.study.networks.serving import DIMENSIONS, serving_graph, untouched_embedding
from tumorlens.study.networks.transfer import backbone_of
from tumorlens.study.networks.weights import load_weights
from tumorlens.study.phantom.drawing import draw_phantom
from tumorlens.study.phantom.out_of_distribution import draw_ood_image

SPEC = InputSpec(160)


def build() -> keras.Model:
    return NETWORKS["efficientnet-lite0"].build(64, len(ATOMS))


def test_maps_have_a_sixteenth_of_the_side_instead_of_a_thirty_second():
    shapes = [
        build_efficientnet_lite(input_shape=(64, 64, 3), last_stride=stride).output.shape[1:3]
        for stride in (1, 2)
    ]
    assert shapes == [(4, 4), (2, 2)]


def test_imagenet_weights_answer_a_picture_as_they_did_elsewhere():
    """The sum of what comes out of a gray ramp; padding or order of weights would change it."""
    network = build_efficientnet_lite(weights="imagenet", input_shape=(64, 64, 3))
    ramp = np.linspace(-1, 1, 64, dtype=np.float32)[None, :, None, None]
    maps = np.asarray(network(np.broadcast_to(ramp, (1, 64, 64, 3))))
    assert maps.min() >= 0
    assert maps.max() <= 6
    assert maps.mean() == pytest.approx(0.061834, rel=1e-3)


def test_a_truncated_network_sees_what_the_whole_one_sees_so_far():
    name, side = "efficientnet-lite0-truncated", 64
    model = NETWORKS[name].build(side, len(ATOMS))
    load_weights(model, name, "imagenet")
    short = backbone_of(model)
    whole = build_efficientnet_lite(weights="imagenet", input_shape=(side, side, 3))
    deep = keras.Model(whole.input, whole.get_layer("stage_6_0_expand_relu").output)
    ramp = np.linspace(-1, 1, side, dtype=np.float32)[None, :, None, None]
    seen = [np.asarray(part(np.broadcast_to(ramp, (1, side, side, 3)))) for part in (short, deep)]
    assert seen[0].shape == (1, 4, 4, 672)
    np.testing.assert_allclose(seen[0], seen[1], atol=1e-5)
    assert seen[0].std() > 0.1
    assert model.count_params() < build().count_params() / 4


def test_attention_starts_as_the_plain_mean_of_positions():
    network = build()
    image = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 1), dtype=np.uint8)
    attended = network.get_layer("attended")
    before, after = keras.Model(network.input, [attended.input[0], attended.output])(image)
    np.testing.assert_allclose(before, after, rtol=1e-5)


def test_maps_still_add_up_to_the_answer_where_attention_has_learned():
    network = build()
    attention = network.get_layer("attention_score")
    kernel, bias = attention.get_weights()
    attention.set_weights([np.random.default_rng(1).normal(0, 1, kernel.shape), bias])
    image = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 1), dtype=np.uint8)
    logits, maps, _ = serving_graph(network)(image)
    np.testing.assert_allclose(np.mean(maps, axis=(1, 2)), logits, atol=1e-4)


@pytest.mark.parametrize(("version", "parameters"), [(0, 3_413_024), (2, 4_869_168)])
def test_a_version_has_as_many_parameters_as_its_published_weights(version, parameters):
    network = build_efficientnet_lite(version=version, input_shape=(32, 32, 3))
    assert network.count_params() == parameters


def test_untouched_features_find_a_head_nearer_to_heads_than_what_is_none():
    scan = keras.Input((160, 160, 1), dtype="uint8")
    embed = keras.Model(scan, untouched_embedding(scan))
    heads = [draw_phantom("mri", "healthy", seed=s, side=160).pixels for s in range(8)]
    others = [draw_ood_image(s) for s in range(4)]
    images = np.stack(
        [prepare(Scan(i.astype(np.float32), "drawn"), SPEC).pixels for i in heads + others]
    )
    made = np.asarray(embed(images[..., None]))
    known, probes, strangers = made[:6], made[6:8], made[8:]
    assert known.shape == (6, DIMENSIONS)
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (known, probes, strangers)]
    near, far = (1 - (v @ unit[0].T).max(1) for v in unit[1:])
    assert near.max() < far.min()
