"""The settings of the pool manager: every section is listed, and a setting that does not exist is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from traitlets.config import Config

from fastgpu_jupyter.pool.app import FastGPUPool
from fastgpu_jupyter.pool.effects.scrubber import WAIT
from fastgpu_jupyter.pool.http.limits import ServiceLimits
from fastgpu_jupyter.pool.settings import RENAMED, SECTIONS, Settings


def initialized(*argv: str) -> FastGPUPool:
    """Return a pool application with its settings read, which is never started."""
    FastGPUPool.clear_instance()
    application = FastGPUPool()
    application.initialize(list(argv))
    return application


def refusal(capfd: pytest.CaptureFixture[str], *argv: str) -> str:
    """Return what the application prints before it exits because of its settings."""
    with pytest.raises(SystemExit) as exit_status:
        initialized(*argv)
    assert exit_status.value.code == 1
    return capfd.readouterr().err


def test_settings_without_configuration_have_the_documented_defaults() -> None:
    settings = Settings(FastGPUPool())
    assert (settings.parking.idle_s, settings.scrubbing.mode, settings.sharing.enabled) == (5.0, WAIT, True)
    assert settings.limits.service_limits() == ServiceLimits()
    assert settings.parking.host_memory_bytes() > 0


def test_settings_of_file_and_command_line_reach_their_section(isolated: Path) -> None:
    (isolated / "config" / "jupyter_fastgpu_config.py").write_text(
        "c = get_config()\nc.Parking.idle_s = 7\nc.Parking.host_memory = '3GiB'\nc.FastGPUExtension.other = 1\n"
    )
    application = initialized("--Parking.idle_s=9", "--simulate=1xT4-16GB", "--Limits.leases_max=3")
    settings = application.settings
    assert settings.parking.idle_s == 9
    assert settings.parking.host_memory_bytes() == 3 * 2**30
    assert settings.devices.simulate == "1xT4-16GB"
    assert settings.limits.service_limits().leases_max == 3


@pytest.mark.parametrize("old", sorted(RENAMED))
def test_setting_with_an_old_name_is_refused_with_the_new_one(
    isolated: Path, capfd: pytest.CaptureFixture[str], old: str
) -> None:
    section, _, name = RENAMED[old].partition(".")
    assert name in {cls.__name__: cls for cls in SECTIONS}[section].class_trait_names(config=True)
    assert f"FastGPUPool.{old} is now {section}.{name}." in refusal(capfd, f"--FastGPUPool.{old}=1")


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("--Parking.idle=3", "There is no setting Parking.idle."),
        ("--FastGPUPool.idle_s=3", "There is no setting FastGPUPool.idle_s."),
        ("--Parkign.idle_s=3", "There is no section 'Parkign'. The sections are FastGPUPool, Devices"),
        ("--Limits.leases_max=0", "should not be less than 1"),
        ("--Scrubbing.mode=never", "'never'"),
        ("--Parking.host_memory=lots", "Parking.host_memory: 'lots' is not an amount of memory"),
        ("stopp", "There is no command 'stopp'."),
    ],
)
def test_setting_that_does_not_exist_or_is_not_allowed_is_refused(
    isolated: Path, capfd: pytest.CaptureFixture[str], argument: str, sentence: str
) -> None:
    assert sentence in refusal(capfd, argument)


def test_old_setting_in_a_file_is_refused(isolated: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (isolated / "config" / "jupyter_fastgpu_config.py").write_text("c.FastGPUPool.park_idle_s = 7\n")
    assert "FastGPUPool.park_idle_s is now Parking.idle_s." in refusal(capfd)


def test_help_lists_every_section_and_setting(isolated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        initialized("--help-all")
    listed = capsys.readouterr().out
    for cls in SECTIONS:
        for name in cls.class_trait_names(config=True):
            assert f"--{cls.__name__}.{name}=" in listed


def test_sections_take_their_values_from_the_configuration_of_the_application() -> None:
    application = FastGPUPool(config=Config({"Accounting": {"rates_per_hour": {"T4-16GB": 0.5}, "currency": "EUR"}}))
    accounting = Settings(application).accounting
    assert (accounting.rates_per_hour, accounting.currency) == ({"T4-16GB": 0.5}, "EUR")
