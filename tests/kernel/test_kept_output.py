"""The messages that a kernel keeps: their order, and what is dropped first."""

from __future__ import annotations

from typing import Any

from fastgpu_jupyter.kernel.kept_output import OVERHEAD_BYTES, STREAM_BYTES, Gap, KeptMessage, KeptOutput, Stream

CELL: dict[str, Any] = {"msg_id": "cell", "msg_type": "execute_request"}
OTHER: dict[str, Any] = {"msg_id": "other", "msg_type": "execute_request"}


def text(written: str, parent: dict[str, Any] = CELL, name: str = "stdout") -> Stream:
    """A write to a stream."""
    return Stream(name, written, parent, b"topic", 1)


def message(kind: str, size: int = 0, parent: dict[str, Any] = CELL) -> KeptMessage:
    """A message of ``size`` bytes."""
    return KeptMessage(kind, "iopub", parent, [b"x" * size], 1)


def popped(output: KeptOutput) -> list[str]:
    """All that is kept, in short: the texts of streams, the types of other messages."""
    found = []
    while (entry := output.pop()) is not None:
        found.append(
            entry.text
            if isinstance(entry, Stream)
            else f"gap {entry.messages} {entry.bytes}"
            if isinstance(entry, Gap)
            else entry.kind
        )
    assert (len(output), output.bytes) == (0, 0)
    return found


def filled(output: KeptOutput, *entries: KeptMessage) -> KeptOutput:
    """Keep all of them."""
    for entry in entries:
        output.add(entry)
    return output


def test_messages_come_back_in_their_order_and_writes_to_one_stream_are_joined() -> None:
    output = filled(
        KeptOutput(), text("a\n"), text("b\n"), text("e\n", name="stderr"), message("status"), text("c\n"),
        text("d\n", OTHER), message("execute_result"),
    )  # fmt: skip
    assert popped(output) == ["a\nb\n", "e\n", "status", "c\n", "d\n", "execute_result"]


def test_piece_of_a_stream_has_a_limit() -> None:
    output = filled(KeptOutput(), *(text("x" * 1000) for _ in range(100)))
    assert len(output) == -(-100_000 // (STREAM_BYTES // 1000 * 1000))


def test_oldest_stream_output_is_dropped_first_and_its_cell_gets_one_gap_in_its_place() -> None:
    output = filled(KeptOutput(messages_max=6), message("execute_input"), text("1"), message("execute_result"))
    filled(output, text("2"), message("error"), text("3"), message("status"))
    assert popped(output) == ["execute_input", "gap 2 2", "execute_result", "error", "3", "status"]
    assert output.dropped == 2  # the gap of one would have needed as much room


def test_results_and_errors_are_kept_before_displays() -> None:
    output = KeptOutput(bytes_max=4 * (1000 + OVERHEAD_BYTES))
    filled(output, message("execute_result", 1000), message("display_data", 1000), message("error", 1000))
    filled(output, message("display_data", 1000), message("execute_result", 1000))
    assert popped(output) == ["execute_result", "gap 2 2000", "error", "execute_result"]


def test_message_that_is_larger_than_all_that_may_be_kept_drops_nothing_else() -> None:
    output = filled(KeptOutput(bytes_max=10_000), text("before"), message("execute_result", 20_000), text("after"))
    assert popped(output) == ["before", "gap 1 20000", "after"]


def test_later_update_of_a_display_replaces_the_earlier_one() -> None:
    output = KeptOutput()
    for at in range(1000):
        update = message("update_display_data", at)
        update.display = "progress"
        output.add(update)
    assert len(output) == 1
    assert output.bytes == 999 + OVERHEAD_BYTES


def test_output_without_end_stays_within_the_limits() -> None:
    output = KeptOutput(messages_max=50, bytes_max=50_000)
    for number in range(2000):
        parent = {"msg_id": f"cell {number // 10}", "msg_type": "execute_request"}
        filled(output, text("x" * 300, parent), message("status", 10, parent), message("display_data", 500, parent))
        assert len(output) <= 50
        assert output.bytes <= 50_000
    assert output.dropped > 4000
