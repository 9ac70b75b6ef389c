"""The sentences in Chinese as written in mainland China, by code. Chinese has one plural form; see :mod:`.en`.

Commands, options, sizes (``half``, ``1g.10gb``) and what a device said stay as they are.
"""

from __future__ import annotations

from . import zh_CN_kernel

MESSAGES: dict[str, str] = {
    **zh_CN_kernel.MESSAGES,
}
