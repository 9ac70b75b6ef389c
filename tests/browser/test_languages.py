"""The interface in Chinese: JupyterLab with its language pack, the panel, messages of the pool, and the kernel."""

from __future__ import annotations

import os
import re
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.conftest import LabProcess, lab_settings
from tests.browser.lab_page import LabPage


def test_interface_and_kernel_speak_chinese_where_jupyterlab_does(lab: LabProcess, page: Page) -> None:
    lab_settings(
        Path(os.environ["JUPYTER_CONFIG_DIR"]), "@jupyterlab/translation-extension:plugin", {"locale": "zh_CN"}
    )
    lab.start()
    tab = LabPage(page, lab)
    tab.open()
    panel = tab.panel()
    expect(panel.get_by_text("没有等待中的请求。")).to_be_visible()
    tab.start_kernel_by_command()
    # A message of the pool, which the browser renders, and the states of the lease.
    expect(panel.get_by_text("使用中").first).to_be_visible()
    expect(panel.get_by_text("我的租约").first).to_be_visible()
    # The kernel was started in the language of JupyterLab.
    shown = tab.run("%fastgpu")
    expect(shown).to_contain_text("GPU 租约（模拟）")
    expect(shown).to_contain_text("此资源池的 GPU 是模拟的。")
    # What JupyterLab itself says is Chinese, too: the language pack is there.
    expect(page.locator(".lm-MenuBar-itemLabel", has_text="文件")).to_be_visible()
    english = re.compile(r"[A-Za-z]+(?: [a-z]+){2,}")  # three words of English in a row
    texts = [text for text in panel.locator("button, h2, h3, p").all_inner_texts() if english.search(text)]
    assert texts == []
    # Titles and descriptions of settings, which the server translates.
    headers = {"Authorization": f"token {lab.token}"}
    answer = page.request.get(f"{lab.url}lab/api/settings/fastgpu-jupyter:panel", headers=headers).json()
    assert answer["schema"]["title"] == "FastGPU 面板"
    assert answer["schema"]["properties"]["showEnded"]["title"] == "已结束的租约"
