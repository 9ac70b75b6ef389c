"""Mutations of the cache and of the store of results: no job gets the result of something else, or a damaged one."""

from __future__ import annotations

from collections.abc import Callable

from fastgpu_jupyter.jobs.cache import arrays, explanation, modules, patches, reach, source, writers
from fastgpu_jupyter.jobs.cache.canonical import Form
from fastgpu_jupyter.jobs.cache.making import Making
from fastgpu_jupyter.jobs.results import eviction, files, sessions, values
from fastgpu_jupyter.jobs.results.store import ResultStore
from fastgpu_jupyter.jobs.work.audit import Opened
from tests.crash.mutations.edits import Edit
from tests.crash.mutations.model import Fails, Guarantee, Mutation
from tests.jobs.cache import test_generated_programs, test_keys, test_pairs
from tests.jobs.results import test_store
from tests.jobs.work import test_audit

C = Guarantee.CACHE


def _pair(name: str, test: Callable[..., object] = test_pairs.test_pair_shares_a_key_or_not) -> Fails:
    """Return the expectation that a pair of the table has one key although it must not."""
    return Fails(test, "is False", parameters=name.replace(" ", "-"))


MUTATIONS = (
    Mutation(
        "a key ignores default arguments",
        C,
        (Edit(Making._add_function, 'self.add_value("default", _1, _2)', "pass"),),
        _pair("default of a helper"),
    ),
    Mutation(
        "a key ignores the values of closures",
        C,
        (Edit(Making._add_function, 'self.add_value("closure", _1, _content(cell), label=name)', "pass"),),
        Fails(test_generated_programs.test_constant_of_each_kind_is_in_the_key_and_in_the_result, parameters="closure"),
    ),
    Mutation(
        "a key ignores globals",
        C,
        (Edit(Making.add_reached, "self._add_global(...)", "pass"),),
        Fails(test_generated_programs.test_equal_keys_imply_equal_results, "assert"),
    ),
    Mutation(
        "a key ignores the bodies of functions",
        C,
        (Edit(source.write_function_node, 'field not in ("name", "args")', 'field not in ("name", "args", "body")'),),
        _pair("operator"),
    ),
    Mutation(
        "a function has the source that its file has now",
        C,
        (Edit(source.function_node, "codes[0] == code", "True"),),
        Fails(test_keys.test_function_whose_source_was_edited_since_has_another_key),
    ),
    Mutation(
        "bytecode counts without its constants",
        C,
        (Edit(source.write_bytecode, "form.value(constant)", "pass"),),
        _pair("code without source"),
    ),
    Mutation(
        "nested functions reach nothing",
        C,
        (Edit(reach.reached_by, "inner_codes(code)", "[code]"),),
        _pair("global read by a nested function"),
    ),
    Mutation(
        "a key ignores the byte order of an array",
        C,
        (Edit(arrays._write_dtype, "dtype.str", "dtype.kind"),),
        _pair("byte order"),
    ),
    Mutation(
        "a key ignores the shape of an array",
        C,
        (Edit(arrays._write_array, "array.shape", "array.size"),),
        _pair("shape"),
    ),
    Mutation(
        "columns of a table have no order",
        C,
        (Edit(arrays._write_frame, "(frame.index, _3, _1, _2)", "(frame.index, set(_3), _1, _2)"),),
        _pair("column order", test_pairs.test_pair_of_tables_shares_a_key_or_not),
    ),
    Mutation(
        "a tensor is the same on each device",
        C,
        (Edit(arrays._write_tensor, "str(tensor.device)", "tensor.device.type != 'meta'"),),
        _pair("device of a tensor", test_pairs.test_pair_of_tensors_shares_a_key_or_not),
    ),
    Mutation(
        "an object that was met before is written as nothing",
        C,
        (Edit(Form.is_known, "self.tag(known)", "pass"),),
        _pair("which list is met again"),
    ),
    Mutation(
        "texts in a list have no ends",
        C,
        (Edit(writers._packed_texts, 'array("q", map(len, value))', 'b""'),),
        _pair("where a long list is divided"),
    ),
    Mutation(
        "minus zero is zero",
        C,
        (Edit(writers._write_float, "_DOUBLE.pack(value)", "_DOUBLE.pack(value + 0.0)"),),
        _pair("zero and minus zero"),
    ),
    Mutation(
        "a key ignores what local modules import",
        C,
        (Edit(modules._read, "tuple(imports_of_tree(tree))", "()"),),
        _pair("module that a local module imports for its effect"),
    ),
    Mutation(
        "a replaced function of a library is not seen",
        C,
        (Edit(patches._is_local, "origin_of_function(function) == LOCAL", "False"),),
        _pair("monkeypatched deep in a library"),
    ),
    Mutation(
        "a forced collision is a hit",
        C,
        (Edit(explanation.same, "_digests(old) == _digests(new)", "bool(old) == bool(new)"),),
        Fails(test_keys.test_collision_is_noticed_by_the_ingredients),
    ),
    Mutation(
        "a result is unpickled before its checksum is compared",
        C,
        (Edit(values.read_value, "checksum.hexdigest() != digest", "False"),),
        Fails(
            test_store.test_damaged_object_is_refused_before_anything_is_unpickled, parameters="-1000", error="Failed"
        ),
    ),
    Mutation(
        "a result that is a link is opened",
        Guarantee.IDENTITY,
        (Edit(files.open_own, "_1 | os.O_NOFOLLOW", "_1"),),
        Fails(test_store.test_object_that_others_could_have_written_is_refused, parameters="link", error="Failed"),
    ),
    Mutation(
        "a result that others may write to is opened",
        Guarantee.IDENTITY,
        (Edit(files._require_own, "not found.st_mode & _OTHERS_WRITE", "True"),),
        Fails(test_store.test_object_that_others_could_have_written_is_refused, parameters="others", error="Failed"),
    ),
    Mutation(
        "eviction removes what a process wrote",
        C,
        (Edit(sessions.protected_digests, "found.update(...)", "pass"),),
        Fails(test_store.test_eviction_keeps_what_is_in_use_what_is_read_and_what_a_process_wrote),
    ),
    Mutation(
        "eviction removes what an unreadable manifest may refer to",
        C,
        (Edit(eviction.evict, "None in parts.values()", "False"),),
        Fails(test_store.test_eviction_removes_no_object_while_a_manifest_cannot_be_read, "", error="NotFound"),
    ),
    Mutation(
        "reading a result does not count as its use",
        C,
        (Edit(ResultStore.reading, "os.utime(...)", "pass"),),
        Fails(test_store.test_eviction_removes_the_least_recently_used_results_until_the_bound_holds),
    ),
    Mutation(
        "the audit ignores what is read through os.open",
        C,
        (Edit(Opened.on_open, "os.path.isfile(real)", "isinstance(mode, str)"),),
        Fails(test_audit.test_audit_records_what_is_read_and_not_what_is_no_input, parameters="os.open"),
        in_processes=True,
    ),
)
