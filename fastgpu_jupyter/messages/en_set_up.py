"""The English sentences about configuration, kernelspecs, and pool managers that cannot be reached; see :mod:`.en`."""

from __future__ import annotations

MESSAGES: dict[str, str | dict[str, str]] = {
    # -- configuration ---------------------------------------------------------------------------------------------
    "config.file": "{file}, line {line}",
    "config.some_file": "A configuration file",
    "config.command_line": "{setting} on the command line",
    "config.setting": "{setting}",
    "config.of_setting": "{setting}: {reason}",
    "config.currency": "Accounting.currency is {text}; give 1 to 8 letters or a sign, like USD or €.",
    "config.no_section": "There is no section {name}. The sections are {names}.",
    "config.renamed": "FastGPUPool.{name} is now {new_name}. Change it in the configuration.",
    "config.no_setting": (
        "There is no setting {section}.{name}. `jupyter fastgpu pool --help-all` lists all settings."
    ),
    "config.idle_steps": "Idle.by_size[{size}] has {given}; use {steps}.",
    "config.idle_times": "Idle.by_size[{size}]: each time is a number of seconds, 0 for never.",
    "config.unreadable": (
        "{place}: the configuration cannot be read ({reason}). The pool manager was not started, because the settings "
        "in the file would not hold. Correct the file."
    ),
    "rates.wrong": (
        "{place}: the rate of {model} is {value}: {reason} The pool manager was not started; leases and bills stay as "
        "they are."
    ),
    "rates.no_number": "that is not a number, such as 2.50.",
    "rates.not_finite": "that is not a finite number.",
    "rates.negative": "it must not be negative.",
    "rates.too_small": "it is less than a millionth. For a model that is free give 0.",
    "rates.too_large": "the highest rate is {most} an hour.",
    "rates.unknown_model": (
        "{place}: there is no GPU model {model}, so that the rate would have no effect. The pool manager was not "
        "started; leases and bills stay as they are. There are {models}."
    ),
    # -- kernelspecs -----------------------------------------------------------------------------------------------
    "kernelspec.metadata": "metadata.fastgpu of the kernelspec cannot be used: {reason}",
    "kernelspec.not_object": "It must be an object, like {{}}; it is {value}.",
    "kernelspec.not_boolean": "{field} must be true or false; it is {value}.",
    "kernelspec.cluster": (
        "cluster must be an object with the path of the interpreter on the cluster's hosts, such as "
        '{{"python": "/opt/env/bin/python"}}; it is {value}.'
    ),
    "kernelspec.preload": (
        'preload must be a list of at most {modules_max} names of modules, like ["numpy"]; it is {value}.'
    ),
    "kernelspec.not_text": "{field} must be a text; it is {value}.",
    "kernelspec.no_option": "There is no option {field}; use {choices}.",
    "kernelspec.no_metadata": "The metadata of kernelspec {name} is not an object.",
    "kernelspec.two_sizes": "Give a profile or an amount of memory, not both.",
    "kernelspec.no_size": (
        "This kernelspec is one of FastGPU already. For one of another size, give --profile, like half, or --memory, "
        "like 24GiB."
    ),
    "kernelspec.unknown_model": (
        "{size} is neither a profile (full, half, quarter, eighth) nor a GPU model that FastGPU or a pool of this "
        "machine knows. Models are {models}. With --any-model the size is accepted all the same."
    ),
    "kernelspec.other_provisioner": (
        "The kernels of this kernelspec are started by the provisioner {name}. FastGPU starts processes of this "
        "machine only, so that its kernelspec would be another kernel."
    ),
    "kernelspec.one_source": "Name one kernelspec; `jupyter kernelspec list` lists them.",
    "kernelspec.no_source": "There is no kernelspec {name}. Installed are: {known}.",
    "kernelspec.name": (
        "{name} cannot be the name of a kernelspec: use at most 100 letters without accents, digits, and - . _ (as in "
        "python3-half)."
    ),
    "kernelspec.taken": (
        "There is a kernelspec {name} already ({display_name}); it was left as it is. Give another name with --name, "
        "or --replace to have this one in its place."
    ),
    "kernelspec.other_kernel": "it is not started as a module of ipykernel.",
    "kernelspec.no_package": (
        "its interpreter cannot import fastgpu_jupyter. Install fastgpu-jupyter there and install this kernelspec "
        "again, and a cell waits instead."
    ),
    "kernelspec.not_run": "its command could not be tried ({reason}), so that what its interpreter has is not known.",
    "kernelspec.probe_timeout": "its command did not answer within {timeout_ms}, so that what it has is not known.",
    "kernelspec.installed_with_gate": (
        "Installed {display_name} in {folder}: it starts at once, and a cell waits for its GPU."
    ),
    "kernelspec.installed": "Installed {display_name} in {folder}: its start waits for its GPU, because {reason}",
    # -- a pool manager that cannot be reached, options, versions ------------------------------------------------------
    "pool.socket_forbidden": (
        "You may not use the pool's socket {path}; it belongs to another user. Unset FASTGPU_SOCKET to use "
        "your own pool, or ask its administrator for access."
    ),
    "pool.no_answer": (
        "No pool manager answers at {path} ({reason}). Start one with `jupyter fastgpu pool`; leases already "
        "granted are kept."
    ),
    "pool.socket_of_another_user": (
        "The socket {path} belongs to another user (uid {uid}). Nothing was sent to it. Set FASTGPU_SOCKET to "
        "your own pool's socket, or unset it."
    ),
    "pool.went_away": "The pool manager went away; trying again.",
    "pool.ended": "The pool manager ended; connecting again.",
    "pool.events_unreadable": "The pool manager's events could not be read: {reason}",
    "pool.not_startable": "The pool manager could not be started: {reason}.",
    "pool.not_callable": "The pool manager could not be called: {reason}.",
    "pool.elsewhere": (
        "The pool manager is not on this host of the cluster, and only a FastGPU kernel reaches it from here. Use a "
        "terminal of JupyterLab."
    ),
    "pool.not_started": (
        "The pool manager did not start: {reason} Its log is {log}; `jupyter fastgpu pool` shows it in a terminal."
    ),
    "pool.ended_at_start": (
        "The pool manager did not start: it ended with status {status}. Its log is {log}; `jupyter fastgpu "
        "pool` shows it in a terminal."
    ),
    "server.too_many_streams": (
        "This Jupyter server already has {count} open FastGPU event streams. Close a browser tab, or raise "
        "FastGPUExtension.event_streams_max."
    ),
    "request.seen_size": "seen must be the size that the lease had, as a text.",
    "request.budget_micro": "budget_micro must be a whole number of millionths of the currency, or null for none.",
    "option.none_of": "{text} is none of {choices}.",
    "option.not_a_name": "{text} cannot be the name of anything on a cluster.",
    "option.yes_or_no": "{text} is neither yes nor no.",
    "option.given_twice": "--{option} was given twice.",
    "option.needs_value": "--{option} needs a value, like --{option} {example}.",
    "option.unknown": "There is no option {text}; use one of {choices}.",
    "version.of_older_pool": (
        "The pool manager at {path} is {pool} and this program is {ours}: they do not understand each other. "
        "Restart the pool manager with `jupyter fastgpu pool restart`; leases are kept."
    ),
    "version.of_newer_pool": (
        "The pool manager at {path} is {pool} and this program is {ours}: they do not understand each other. "
        "Upgrade fastgpu-jupyter in the environment of this program, and restart it; leases are kept."
    ),
    "version.of_server": (
        "The Jupyter server is {server} and this kernel is {ours}: they do not understand each other. Install "
        "the same version of fastgpu-jupyter in both environments, and restart them; cells run, and the lease "
        "is kept."
    ),
    "version.differs": (
        "The pool manager is FastGPU {pool} and this program FastGPU {ours}; they understand each other. "
        "`jupyter fastgpu pool restart` starts the installed version; leases are kept."
    ),
}
