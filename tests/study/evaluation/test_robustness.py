"""Damage does to scans what it says, and is measured on a sample in even numbers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tumorlens.json_records import to_json
from tumorlens.predictions.predictor import Predictor
from tumorlens.records import Case, Scan
from tumorlens.study.data.index import read_cases
from tumorlens.study.evaluation.robustness import (
    AS_STORED,
    PERTURBATIONS,
    perturbed,
    robustness_figures,
)
from tumorlens.study.evaluation.subgroups import draw_sample
from tumorlens.study.phantom import write_phantoms

DAMAGES = [(name, strength) for name, row in PERTURBATIONS.items() for strength in row.strengths]


@pytest.fixture
def scan(head) -> Scan:
    return Scan(head.astype(np.float32), "head")


def unit(scan: Scan) -> np.ndarray:
    low, high = np.percentile(scan.pixels, [0.5, 99.5])
    return (scan.pixels - low) / (high - low)


@pytest.mark.parametrize(("name", "strength"), DAMAGES)
def test_damage_leaves_a_finite_scan_that_is_not_the_same(scan, name, strength):
    found = perturbed(scan, name, strength)
    assert np.isfinite(found.pixels).all()
    assert found.source == scan.source
    assert found.pixels.shape != scan.pixels.shape or not np.allclose(found.pixels, unit(scan))


@pytest.mark.parametrize("name", ["noise", "blur", "JPEG"])
def test_more_strength_is_more_damage(scan, name):
    away = [np.abs(perturbed(scan, name, s).pixels - np.clip(unit(scan), 0, 1)).mean()
            for s in PERTURBATIONS[name].strengths]  # fmt: skip
    assert away == sorted(away)
    assert away[0] < away[-1]


def test_turning_by_half_and_inverting_twice_give_the_scan_back(scan):
    turned = perturbed(scan, "rotation", 180).pixels
    assert np.abs(turned[::-1, ::-1] - unit(scan)).mean() < 0.01
    twice = perturbed(perturbed(scan, "inversion", 1), "inversion", 1)
    assert np.corrcoef(twice.pixels.ravel(), scan.pixels.ravel())[0, 1] > 0.999


def test_resolution_shrinks_and_noise_repeats(scan):
    assert perturbed(scan, "resolution", 0.5).pixels.shape == (64, 64)
    again = [perturbed(scan, "noise", 0.1, seed=3).pixels for _ in range(2)]
    assert (again[0] == again[1]).all()
    assert not np.allclose(again[0], perturbed(scan, "noise", 0.1, seed=4).pixels)


def test_a_flat_scan_survives_every_damage():
    flat = Scan(np.full((32, 32), 7, np.float32), "flat")
    for name, strength in DAMAGES:
        assert np.isfinite(perturbed(flat, name, strength).pixels).all()


def case(label: str, name: int, group: str = "") -> Case:
    return Case(Path(f"{name}.png"), f"set/{name}", label, "set", group=group or None)


def test_a_sample_is_even_over_findings_and_takes_groups_apart_first():
    cases = [case("ct_tumor", i, group="one") for i in range(50)]
    cases += [case("ct_tumor", 50 + i) for i in range(5)]
    cases += [case("ct_healthy", 100 + i) for i in range(50)]
    drawn = [cases[i] for i in draw_sample(cases, 12)]
    assert sum(c.label == "ct_tumor" for c in drawn) == 6
    assert sum(c.group == "one" for c in drawn) == 1


def test_a_sample_larger_than_the_cases_is_all_of_them():
    cases = [case("ct_tumor", i) for i in range(4)]
    assert draw_sample(cases, 9) == [0, 1, 2, 3]
    assert draw_sample([], 9) == []


def test_every_damage_is_measured_by_modality_beside_the_scan_as_stored(tiny_bundle, tmp_path):
    cases = read_cases(write_phantoms(tmp_path / "set", per_class=2, seed=2, side=64))
    cases.append(replace(cases[0], path=tmp_path / "missing.png", key="set/missing"))
    heard = []
    found = to_json(
        robustness_figures(cases, Predictor(tiny_bundle), progress=lambda *now: heard.append(now))
    )
    asked = {(row["perturbation"], row["strength"], row["task"]) for row in found["rows"]}
    assert asked >= {(n, s, t) for n, s in [*DAMAGES, (AS_STORED, 0.0)] for t in ("ct", "mri")}
    assert (found["n"], found["of"]) == (12, 13)
    assert all(row["auc_low"] <= row["auc"] <= row["auc_high"] for row in found["rows"]
               if row["auc_low"] is not None)  # fmt: skip
    assert heard[-1][0] == 12
