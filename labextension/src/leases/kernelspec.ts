/** What a kernelspec says about FastGPU. Pure. */

/** The parts of a kernelspec that are read; `metadata` may have anything. */
export interface IKernelspec {
  readonly argv: ReadonlyArray<string>;
  readonly metadata?: { readonly [key: string]: unknown };
}

/** The module of the kernel whose cells wait for their lease. */
const GATE_MODULE = 'fastgpu_jupyter.kernel';

/**
 * Return whether the cells of a kernel wait for a lease, so that it can get one while it runs.
 *
 * Null if there is no kernelspec: the server says so then.
 */
export function isGated(spec: IKernelspec | null | undefined): boolean | null {
  if (spec === null || spec === undefined) {
    return null;
  }
  const own = spec.metadata?.fastgpu;
  const gate = typeof own === 'object' && own !== null ? (own as { gate?: unknown }).gate : undefined;
  return typeof gate === 'boolean' ? gate : spec.argv.includes(GATE_MODULE);
}
