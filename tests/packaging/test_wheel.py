"""One `pip install` gives everything: kernel, provisioner, server extension, front end, command line."""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

import fastgpu_jupyter
from tests.packaging.conftest import FROM_CLONE

ROOT = Path(__file__).resolve().parent.parent.parent
Run = Callable[..., str]

#: Code and styles that every page loads when it starts, compressed: JupyterLab waits for them.
START_BYTES_MAX = 112_000
#: All code and styles that a page may load, compressed, with everything open: panel, charts, dialogs, logs, results and
#: the widget. It is what a browser keeps of us; each part beyond the start is loaded when it is opened.
PAGE_BYTES_MAX = 222_000
# From a clone, the front end is fetched and compiled.
patient = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_python_and_the_front_end_have_one_version() -> None:
    package = json.loads((ROOT / "labextension/package.json").read_text())
    lock = json.loads((ROOT / "labextension/package-lock.json").read_text())
    assert package["version"] == lock["version"] == fastgpu_jupyter.__version__
    assert package["name"] == "fastgpu-jupyter"


def test_changelog_has_unreleased_changes_or_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert "\n## [Unreleased]\n" in text
    assert fastgpu_jupyter.__version__ in text


def test_the_lock_file_names_no_download_address() -> None:
    lock = json.loads((ROOT / "labextension/package-lock.json").read_text())
    assert [name for name, entry in lock["packages"].items() if "resolved" in entry] == []


def test_the_kernelspec_names_our_kernel_and_provisioner() -> None:
    spec = json.loads((ROOT / "kernels/fastgpu/kernel.json").read_text())
    assert spec["argv"] == ["python", "-m", "fastgpu_jupyter.kernel", "-f", "{connection_file}"]
    assert spec["metadata"]["kernel_provisioner"] == {"provisioner_name": "fastgpu-provisioner", "config": {}}
    assert spec["metadata"]["fastgpu"] == {"gate": True}
    for name in ("logo-64x64.png", "logo-32x32.png", "logo-svg.svg"):
        assert (ROOT / "kernels/fastgpu" / name).stat().st_size > 0


class TestWheel:
    pytestmark = patient

    def test_it_holds_every_part_and_nothing_else(self, wheel: Path) -> None:
        names = set(zipfile.ZipFile(wheel).namelist())
        data = f"{wheel.name.split('-py3')[0]}.data/data"
        for part in (
            "share/jupyter/labextensions/fastgpu-jupyter/package.json",
            "share/jupyter/labextensions/fastgpu-jupyter/install.json",
            "share/jupyter/kernels/fastgpu/kernel.json",
            "share/jupyter/kernels/fastgpu/logo-64x64.png",
            "share/jupyter/kernels/fastgpu/logo-32x32.png",
            "share/jupyter/kernels/fastgpu/logo-svg.svg",
            "etc/jupyter/jupyter_server_config.d/fastgpu_jupyter.json",
        ):
            assert f"{data}/{part}" in names
        assert any(re.search(r"labextensions/fastgpu-jupyter/static/remoteEntry\..+\.js$", name) for name in names)
        assert any("labextensions/fastgpu-jupyter/schemas/fastgpu-jupyter/" in name for name in names)
        allowed = ("fastgpu_jupyter/", data, f"{wheel.name.split('-py3')[0]}.dist-info/")
        assert [name for name in names if not name.startswith(allowed)] == []
        assert [name for name in names if name.startswith("fastgpu_jupyter/labextension/")] == []

    def test_the_page_loads_little_code(self, wheel: Path) -> None:
        archive = zipfile.ZipFile(wheel)
        loaded = re.compile(
            r".*/(labextensions/fastgpu-jupyter/static|fastgpu_jupyter/kernel/widget/static)/.*\.(js|css)"
        )
        bundles = [name for name in ("/" + one for one in archive.namelist()) if loaded.fullmatch(name)]
        assert any(name.endswith("widget/static/widget.js") for name in bundles)
        assert any(name.endswith("widget/static/widget.css") for name in bundles)
        sizes = {name: len(zlib.compress(archive.read(name[1:]), 9)) for name in bundles}
        assert sum(sizes.values()) <= PAGE_BYTES_MAX, sizes
        (entry,) = (name for name in bundles if "/remoteEntry." in name)
        # What JupyterLab asks for: the plugins and the styles, each with the chunks that it names.
        asked = re.findall(r'"\./(?:index|style)":\(\)=>(.*?)\.then\(', archive.read(entry[1:]).decode())
        chunks = {number for part in asked for number in re.findall(r"\.e\((\d+)\)", part)}
        at_start = {
            name: size
            for name, size in sizes.items()
            if "/labextensions/" in name and name.rpartition("/")[2].split(".")[0] in {*chunks, "remoteEntry", "style"}
        }
        assert len(asked) == 2
        assert len(at_start) == 2 + len(chunks)
        assert sum(at_start.values()) <= START_BYTES_MAX, at_start

    def test_its_bundle_names_the_version(self, wheel: Path) -> None:
        data = f"{wheel.name.split('-py3')[0]}.data/data"
        text = zipfile.ZipFile(wheel).read(f"{data}/share/jupyter/labextensions/fastgpu-jupyter/package.json")
        assert json.loads(text)["version"] == fastgpu_jupyter.__version__


class TestEnvironment:
    pytestmark = patient

    def test_the_command_line_answers(self, environment: Run) -> None:
        assert "Subcommands" in environment("jupyter", "fastgpu", "--help")
        assert fastgpu_jupyter.__version__ in environment("jupyter-fastgpu", "--version")

    def test_the_kernel_is_listed(self, environment: Run) -> None:
        specs = json.loads(environment("jupyter", "kernelspec", "list", "--json"))["kernelspecs"]
        assert specs["fastgpu"]["spec"]["display_name"] == "Python 3 (FastGPU)"

    def test_the_provisioner_is_listed(self, environment: Run) -> None:
        listed = environment("jupyter", "kernelspec", "provisioners")
        assert re.search(r"fastgpu-provisioner\s+fastgpu_jupyter\.server\.provisioner:FastGPUProvisioner", listed)

    def test_the_server_extension_is_on_and_valid(self, environment: Run) -> None:
        listed = environment("jupyter", "server", "extension", "list")
        assert re.search(r"fastgpu_jupyter.*enabled", listed)
        assert re.search(rf"fastgpu_jupyter {re.escape(fastgpu_jupyter.__version__)}.*OK", listed)

    @pytest.mark.skipif(not FROM_CLONE, reason="other tests start servers in the same environment at this moment")
    def test_the_server_extension_can_be_turned_off(self, environment: Run) -> None:
        environment("jupyter", "server", "extension", "disable", "fastgpu_jupyter")
        assert re.search(r"fastgpu_jupyter.*disabled", environment("jupyter", "server", "extension", "list"))
        environment("jupyter", "server", "extension", "enable", "fastgpu_jupyter")
        assert not re.search(r"fastgpu_jupyter.*disabled", environment("jupyter", "server", "extension", "list"))

    def test_jupyterlab_finds_the_front_end(self, environment: Run) -> None:
        if FROM_CLONE:
            environment("pip", "install", "--quiet", "-c", str(ROOT / "constraints.txt"), "jupyterlab")
        listed = environment("jupyter", "labextension", "list")
        assert re.search(rf"fastgpu-jupyter v{re.escape(fastgpu_jupyter.__version__)}.*enabled.*OK", listed)
