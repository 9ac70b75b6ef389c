// Generated from fastgpu_jupyter/wire/version.py by `make generate`. Do not edit.

/** The version of this page. */
export const VERSION = '0.1.0';

/** The interface that it understands; see `wire/version.py`. */
export const INTERFACE = 2;

/** The interface of a server from before versions were stated. */
export const UNSTATED = 1;

/** The header in which the server states both. */
export const HEADER = 'FastGPU-Version';
