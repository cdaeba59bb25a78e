"""The commands of the service."""

from pathlib import Path

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from tumorlens.cli import app
from tumorlens.cli.serve import SERVICE_MAX_PIXELS, _service_settings
from tumorlens.errors import SettingsError, StoreError
from tumorlens.records import Prediction
from tumorlens.services.http.server import _check_keys, serve
from tumorlens.services.store import NewPrediction, open_store, save_predictions
from tumorlens.services.store.keys import create_key, find_key, revoke_key
from tumorlens.settings import Settings

runner = CliRunner()


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUMORLENS_STORE", str(tmp_path / "store.sqlite"))
    return tmp_path / "store.sqlite"


def test_a_key_is_printed_once_and_works_until_it_is_revoked(file: Path):
    made = runner.invoke(app, ["keys", "create", "ward", "--scopes", "predict, read"])
    secret = made.stdout.strip()
    key = find_key(open_store(str(file)), secret)
    assert key is not None
    assert key.scopes == {"predict", "read"}
    assert secret not in runner.invoke(app, ["keys", "list"]).stdout
    assert runner.invoke(app, ["keys", "revoke", key.id]).exit_code == 0
    assert "revoked" in runner.invoke(app, ["keys", "list"]).stdout
    assert find_key(open_store(str(file)), secret) is None


def test_the_audit_trail_verifies_until_somebody_alters_it(file: Path):
    store = open_store(str(file))
    save_predictions(store, [NewPrediction(Prediction("x"), "a" * 64, "b" * 64, "ann", "http")])
    whole = runner.invoke(app, ["audit-trail", "verify"])
    assert whole.exit_code == 0
    assert whole.stdout == runner.invoke(app, ["audit-trail", "head"]).stdout
    assert "predicted" in runner.invoke(app, ["audit-trail", "show"]).stdout
    with store.writing() as connection:
        connection.execute(text("UPDATE predictions SET document = replace(document, 'x', 'y')"))
    assert runner.invoke(app, ["audit-trail", "verify"]).exit_code == 1


def test_a_head_that_was_kept_is_compared(file: Path, tmp_path: Path, monkeypatch):
    store = open_store(str(file))
    save_predictions(store, [NewPrediction(Prediction("x"), "a" * 64, "b" * 64, "ann", "http")])
    head = runner.invoke(app, ["audit-trail", "head"]).stdout.strip()
    assert runner.invoke(app, ["audit-trail", "verify", "--expect", head]).exit_code == 0
    other = f"1:{'f' * 64}"
    assert runner.invoke(app, ["audit-trail", "verify", "--expect", other]).exit_code == 1
    (tmp_path / "heads").write_text(other)
    assert runner.invoke(app, ["audit-trail", "verify", "--heads", tmp_path / "heads"]).exit_code
    monkeypatch.setenv("TUMORLENS_AUDIT_HEADS", str(tmp_path / "heads"))
    assert runner.invoke(app, ["audit-trail", "verify"]).exit_code == 1
    wrong = runner.invoke(app, ["audit-trail", "verify", "--expect", "1:abc"])
    assert isinstance(wrong.exception, StoreError)


def test_a_trail_is_signed_by_a_command(file: Path, monkeypatch):
    runner.invoke(app, ["keys", "create", "ward"])
    monkeypatch.setenv("TUMORLENS_AUDIT_KEY", "ab" * 32)
    assert runner.invoke(app, ["audit-trail", "verify"]).exit_code == 1
    assert runner.invoke(app, ["audit-trail", "sign"]).exit_code == 0
    signed = runner.invoke(app, ["audit-trail", "verify"])
    assert signed.exit_code == 0
    assert "signed since entry 2" in signed.stderr


def test_the_service_does_not_listen_to_others_without_keys():
    with pytest.raises(SettingsError, match=r"tumorlens keys create"):
        serve(Settings(), host="0.0.0.0", port=1, needs_keys=False)


def test_the_service_does_not_listen_to_others_before_there_is_a_key(file: Path):
    settings = Settings(store=str(file))
    with pytest.raises(SettingsError, match=r"has no key.*tumorlens keys create"):
        serve(settings, host="0.0.0.0", port=1, needs_keys=True)
    key, _ = create_key(open_store(str(file)), "ward")
    _check_keys(settings, "0.0.0.0", needs_keys=True)
    revoke_key(open_store(str(file)), key.id)
    with pytest.raises(SettingsError, match="has no key"):
        _check_keys(settings, "0.0.0.0", needs_keys=True)


@pytest.mark.parametrize("how", ["option", "variable"])
def test_a_dashboard_that_others_reach_does_not_start_the_bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
):
    if how == "variable":
        monkeypatch.setenv("TUMORLENS_BENCH_DATA", str(tmp_path))
    given = ["--data", str(tmp_path)] if how == "option" else []
    done = runner.invoke(app, ["dashboard", "--host", "0.0.0.0", *given])
    assert isinstance(done.exception, SettingsError)
    assert "could start the bench" in str(done.exception)


def test_a_service_has_its_own_cap_on_pixels_unless_one_is_set(monkeypatch: pytest.MonkeyPatch):
    assert _service_settings().max_pixels == SERVICE_MAX_PIXELS
    monkeypatch.setenv("TUMORLENS_MAX_PIXELS", "123456")
    assert _service_settings().max_pixels == 123456
