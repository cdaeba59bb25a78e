"""Facts about a loaded bundle that answers."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from support.not_plain import as_png, phantom, sheet, with_box

from tumorlens.errors import BundleError
from tumorlens.images.readers import read_scan
from tumorlens.labels import ATOMS, TYPES
from tumorlens.models.bundle import UncertaintyBand
from tumorlens.predictions.document import table_row, to_json
from tumorlens.predictions.predictor import Predictor, load_predictor, summarize
from tumorlens.records import Prediction, Scan
from tumorlens.settings import Settings
from tumorlens.study.phantom import draw_phantom

KINDS = [("ct", "healthy"), ("ct", "glioma"), ("mri", "healthy"), ("mri", "glioma"),
         ("mri", "pituitary")]  # fmt: skip


@pytest.fixture(scope="module")
def predictor(tiny_bundle):
    return Predictor(tiny_bundle, Settings(workers=2, batch=3))


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Ten readable files."""
    from PIL import Image

    folder, paths = tmp_path_factory.mktemp("scans"), []
    for number in range(10):
        path = folder / f"{number}.png"
        pixels = draw_phantom(*KINDS[number % 5], seed=number, side=96).pixels
        Image.fromarray(pixels).save(path)
        paths.append(path)
    return paths


def same(one: Prediction, other: Prediction) -> bool:
    return (one.path, one.decision, one.type, one.modality) == (
        other.path, other.decision, other.type, other.modality
    ) and one.tumor_probability == pytest.approx(other.tumor_probability, abs=1e-5)  # fmt: skip


def answer(bundle, distance=0.0, modality=None, **p: float) -> Prediction:
    """Summarize given atoms; what is left of 1 goes to mri_healthy."""
    p["mri_healthy"] = p.get("mri_healthy", 0) + 1 - sum(p.values())
    row = np.array([p.get(atom, 0.0) for atom in ATOMS])
    return summarize("a.png", row, distance, bundle=bundle, modality=modality)


def test_the_tiny_network_tells_these_scans_apart(predictor, scans):
    """What follows would prove nothing if every answer were the same."""
    found = predictor.predict(scans)
    assert len({round(p.tumor_probability, 4) for p in found}) == 10
    assert {p.modality for p in found} == {"ct", "mri"}
    assert {p.decision for p in found} == {"tumor", "no tumor", "uncertain"}


@pytest.mark.parametrize(("workers", "batch"), [(1, 1), (1, 32), (2, 3), (4, 1), (3, 4)])
def test_the_order_is_kept_with_any_workers_and_batches(tiny_bundle, scans, workers, batch):
    one_by_one = [Predictor(tiny_bundle).predict([path])[0] for path in scans]
    predictor = Predictor(tiny_bundle, Settings(workers=workers, batch=batch))
    found = predictor.predict([*scans, *scans[::-1]])
    assert [p.path for p in found] == [str(path) for path in [*scans, *scans[::-1]]]
    assert all(map(same, found, [*one_by_one, *one_by_one[::-1]]))


def test_an_unreadable_file_is_one_row_among_good_ones(predictor, scans, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(scans[0].read_bytes()[:500])
    paths = [scans[0], broken, scans[1], tmp_path / "missing.png", tmp_path, scans[2]]
    found = predictor.predict(paths)
    assert [p.path for p in found] == [str(path) for path in paths]
    assert [bool(p.error) for p in found] == [False, True, False, True, True, False]
    for prediction in found:
        assert bool(prediction.decision) != bool(prediction.error)
        assert (prediction.tumor_probability is None) == bool(prediction.error)
        assert prediction.bundle == predictor.bundle.version


def test_a_blank_scan_is_one_row_with_its_error(predictor):
    found = predictor.predict_scans([Scan(np.zeros((64, 64), np.float32), "blank")])
    assert len(found) == 1
    assert "blank" in found[0].error
    assert found[0].decision == ""


def test_only_unreadable_files_give_only_errors(predictor, tmp_path):
    found = predictor.predict([tmp_path / str(n) for n in range(7)])
    assert len(found) == 7
    assert all(p.error for p in found)


def test_a_path_no_file_can_have_is_one_row(predictor, scans):
    found = predictor.predict(["nul\0byte.png", scans[0], "a" * 5000])
    assert [bool(p.error) for p in found] == [True, False, True]


def test_no_files_give_no_rows(predictor):
    assert predictor.predict([]) == []
    assert predictor.predict_scans([]) == []


def test_the_caps_of_the_settings_hold(tiny_bundle, scans):
    found = Predictor(tiny_bundle, Settings(max_pixels=64 * 64 - 1)).predict(scans[:1])
    assert "cap" in found[0].error
    found = Predictor(tiny_bundle, Settings(max_bytes=100)).predict(scans[:1])
    assert "cap" in found[0].error


def test_scans_in_memory_answer_like_their_files(predictor, scans):
    from_memory = predictor.predict_scans([read_scan(path) for path in scans])
    assert all(map(same, from_memory, predictor.predict(scans)))


def test_what_was_tolerated_while_reading_is_told(predictor, scans, tmp_path):
    path = tmp_path / "scan.jpg"
    path.write_bytes(scans[0].read_bytes())
    assert predictor.predict([path])[0].notes == ("named JPEG, is PNG",)


def test_progress_counts_every_file(predictor, scans):
    seen = []
    predictor.predict(scans, progress=lambda *now: seen.append(now))
    assert seen == [(n, 10) for n in range(1, 11)]


def test_atoms_sum_to_one_and_so_does_everything_made_of_them(predictor, scans):
    for found in predictor.predict(scans):
        assert tuple(found.atoms) == ATOMS
        assert sum(found.atoms.values()) == pytest.approx(1)
        tumor = sum(p for atom, p in found.atoms.items() if not atom.endswith("healthy"))
        assert found.tumor_probability == pytest.approx(tumor)
        mri = sum(p for atom, p in found.atoms.items() if atom.startswith("mri"))
        assert found.modality_probability == pytest.approx(max(mri, 1 - mri))
        assert (found.modality == "mri") == (mri >= 0.5)


def test_where_the_file_says_its_modality_the_answer_is_the_one_given_it(tiny_bundle):
    atoms = {"ct_healthy": 0.1, "ct_tumor": 0.1, "mri_glioma": 0.6}  # and 0.2 mri_healthy
    found = answer(tiny_bundle, modality="ct", **atoms)
    assert (found.modality, found.modality_probability) == ("ct", pytest.approx(0.2))
    assert found.tumor_probability == pytest.approx(0.5)
    assert found.atoms["ct_tumor"] == pytest.approx(0.5)
    assert found.atoms["mri_glioma"] == 0
    assert not found.type_probabilities
    assert found.notes == ("the file says CT, the network alone would say MRI",)
    assert found.decision == "uncertain"
    foreign = answer(tiny_bundle, 2.0, modality="ct", **atoms)
    assert foreign.decision == "out of scope"
    sure = answer(tiny_bundle, modality="ct", ct_tumor=0.4, mri_healthy=0.6)
    assert (sure.tumor_probability, sure.decision) == (pytest.approx(1), "uncertain")
    agreed = answer(tiny_bundle, modality="mri", **atoms)
    assert agreed.tumor_probability == pytest.approx(0.75)
    assert agreed.notes == ()


def test_the_evidence_too_is_that_given_the_modality_of_the_file(predictor, scans):
    prepared = predictor.prepare_bytes(scans[0].read_bytes(), source="a")
    stated = [replace(prepared, modality=modality) for modality in ("ct", "mri")]
    found = predictor.predict_prepared(stated, heatmaps=True)
    assert [one.modality for one in found] == ["ct", "mri"]
    for one in found:
        assert sum(p for atom, p in one.atoms.items() if atom.startswith(one.modality)) == (
            pytest.approx(1)
        )
    assert not np.allclose(found[0].heatmap.evidence, found[1].heatmap.evidence)


def test_types_are_given_for_mri_and_empty_for_ct(predictor, scans):
    for found in predictor.predict(scans):
        if found.modality == "ct":
            assert dict(found.type_probabilities) == {}
        else:
            assert tuple(found.type_probabilities) == TYPES
            assert sum(found.type_probabilities.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("atoms", "modality", "decision", "type_"),
    [
        ({"mri_glioma": 0.9}, "mri", "tumor", "glioma"),
        ({"mri_meningioma": 0.9}, "mri", "tumor", "meningioma"),
        ({"mri_pituitary": 0.5, "mri_glioma": 0.4}, "mri", "tumor", "pituitary"),
        ({"mri_glioma": 0.32, "mri_meningioma": 0.33, "mri_pituitary": 0.31}, "mri", "tumor",
         "undetermined"),
        ({"mri_glioma": 0.5}, "mri", "uncertain", "glioma"),
        ({"mri_glioma": 0.1}, "mri", "no tumor", ""),
        ({"ct_tumor": 0.9}, "ct", "tumor", "undetermined"),
        ({"ct_tumor": 0.5, "ct_healthy": 0.5}, "ct", "uncertain", "undetermined"),
        ({"ct_healthy": 0.9}, "ct", "no tumor", ""),
        ({"ct_tumor": 0.4, "mri_glioma": 0.5}, "mri", "tumor", "glioma"),
        ({"ct_tumor": 0.6, "mri_glioma": 0.4}, "ct", "tumor", "undetermined"),
    ],
)  # fmt: skip
def test_an_answer_follows_the_table(tiny_bundle, atoms, modality, decision, type_):
    found = answer(tiny_bundle, **atoms)
    assert (found.modality, found.decision, found.type) == (modality, decision, type_)
    assert found.threshold == tiny_bundle.threshold


def test_a_scan_unlike_the_training_scans_is_out_of_scope_and_untyped(tiny_bundle):
    found = answer(tiny_bundle, distance=tiny_bundle.ood_reference.limit + 0.01, mri_glioma=0.99)
    assert (found.decision, found.type) == ("out of scope", "")
    assert found.tumor_probability == pytest.approx(0.99)


def test_what_is_not_one_plain_slice_is_out_of_scope_and_says_why(tiny_bundle, tmp_path):
    anything = replace(tiny_bundle, ood_reference=replace(tiny_bundle.ood_reference, limit=9.0))
    images = {"plain": phantom(2), "box": with_box(phantom(2)), "sheet": sheet(2, 2, first=2)}
    paths = []
    for name, image in images.items():
        paths.append(tmp_path / f"{name}.png")
        paths[-1].write_bytes(as_png(image))
    plain, box, four = Predictor(anything).predict(paths)
    assert plain.decision != "out of scope"
    assert plain.notes == ()
    assert (box.decision, four.decision) == ("out of scope", "out of scope")
    assert "colored marks" in to_json(box)
    assert "several heads, 4 or more" in table_row(four)["notes"]


def test_the_scope_and_band_of_the_bundle_decide(tiny_bundle, scans):
    nothing = replace(tiny_bundle, ood_reference=replace(tiny_bundle.ood_reference, limit=-1.0))
    assert {p.decision for p in Predictor(nothing).predict(scans)} == {"out of scope"}
    unsure = replace(tiny_bundle, ood_reference=replace(tiny_bundle.ood_reference, limit=9.0),
                     uncertainty_band=UncertaintyBand(-1.0, 2.0, 0.0))  # fmt: skip
    assert {p.decision for p in Predictor(unsure).predict(scans)} == {"uncertain"}


def test_the_temperature_of_the_bundle_counts(tiny_bundle, scans):
    hot = Predictor(replace(tiny_bundle, temperature=1000.0)).predict(scans)
    assert [p.tumor_probability for p in hot] == pytest.approx([4 / 6] * 10, abs=0.02)


def test_heatmaps_come_only_when_asked_for(predictor, scans):
    assert all(p.heatmap is None for p in predictor.predict(scans[:2]))
    for found in predictor.predict(scans, heatmaps=True):
        assert found.heatmap.evidence.shape == (8, 8)
        assert found.heatmap.prepared.shape == (64, 64)
        assert found.heatmap.prepared.dtype == np.uint8


def test_the_mean_of_a_heatmap_is_that_of_its_own_scan(predictor, scans):
    together = predictor.predict(scans, heatmaps=True)
    for path, found in zip(scans, together, strict=True):
        alone = predictor.predict([path], heatmaps=True)[0]
        np.testing.assert_allclose(found.heatmap.evidence, alone.heatmap.evidence, atol=1e-4)


@pytest.mark.parametrize(("workers", "batch"), [(1, 1), (1, 4), (2, 2)])
def test_files_are_asked_for_only_as_answers_are_taken(tiny_bundle, tmp_path, workers, batch):
    pulled = 0

    def endless():
        nonlocal pulled
        while True:
            pulled += 1
            yield tmp_path / f"missing {pulled}.png"

    predictor = Predictor(tiny_bundle, Settings(workers=workers, batch=batch))
    answers = predictor.iter_predict(endless())
    ahead = 2 * workers * batch
    for taken in range(1, 30):
        next(answers)
        assert pulled <= taken + ahead + batch
    answers.close()


def test_nothing_is_pulled_before_the_first_answer_is_asked_for(predictor):
    pulled = []
    predictor.iter_predict(pulled.append(n) or f"{n}" for n in range(5))
    assert pulled == []


def test_a_generator_of_paths_is_answered_to_its_end(predictor, scans):
    found = list(islice(predictor.iter_predict(str(path) for path in scans), 100))
    assert [p.path for p in found] == [str(path) for path in scans]


def test_several_threads_may_predict_at_once(predictor, scans):
    expected = predictor.predict(scans)
    with ThreadPoolExecutor(3) as pool:
        for found in pool.map(predictor.predict, [scans] * 4):
            assert all(map(same, found, expected))


def test_a_predictor_is_loaded_from_a_folder_or_from_the_settings(tiny_bundle):
    by_name = load_predictor(tiny_bundle.folder)
    by_settings = load_predictor(settings=Settings(bundle=str(tiny_bundle.folder)))
    assert by_name.bundle.version == by_settings.bundle.version == tiny_bundle.version


def test_a_missing_bundle_is_refused_before_any_scan(tmp_path):
    with pytest.raises(BundleError):
        load_predictor(tmp_path)
