/**
 * What a user chooses for the start of a kernel, and how a notebook remembers it.
 *
 * The names are those of the parameters of a kernelspec (`metadata.parameters`, as Jupyter's JEP 87 shapes it), which
 * have the defaults of the user for that kernel. What a notebook remembers may come from anyone: it can ask for less
 * than the defaults, but a size that may cost more, a higher priority, another budget or a GPU that is kept while idle
 * needs the user's consent.
 */

import type { IntentBody } from '../generated/api';

export type Isolation = 'none' | 'limited' | 'hardware';
export type Priority = 'low' | 'normal' | 'high';

export const ISOLATIONS: ReadonlyArray<Isolation> = ['none', 'limited', 'hardware'];
/** In order. */
export const PRIORITIES: ReadonlyArray<Priority> = ['low', 'normal', 'high'];

/** The parameters of a start; an empty text is no limit. */
export interface IChoice {
  readonly size: string;
  readonly isolation: Isolation;
  readonly priority: Priority;
  /** Whether the GPU is kept while the kernel is idle. */
  readonly hold: boolean;
  readonly budget: string;
  readonly wait: string;
  /** For a cluster; empty for the default of the pool. */
  readonly time: string;
  readonly partition: string;
  readonly account: string;
  readonly qos: string;
  readonly constraint: string;
}

/** A choice for the kernels of one kernelspec; for others the user has chosen nothing. */
export interface IKernelChoice {
  readonly kernel: string;
  readonly choice: IChoice;
}

/** The part of a kernelspec that is read here. */
export interface IKernelSpec {
  readonly name: string;
  readonly display_name: string;
  readonly metadata?: unknown;
}

/** The key of the notebook's metadata, and the version of what is written there. */
export const METADATA_KEY = 'fastgpu';
export const METADATA_VERSION = 1;

const PROVISIONER = 'fastgpu-provisioner';

const STANDARD: IChoice = {
  size: 'full',
  isolation: 'none',
  priority: 'normal',
  hold: false,
  budget: '',
  wait: '',
  time: '',
  partition: '',
  account: '',
  qos: '',
  constraint: ''
};

const readClusterName = (value: unknown) => (typeof value === 'string' && CLUSTER_NAME.test(value) ? value : null);

/** The server checks the same; `null` stands for a value that cannot be used. */
const READERS: { readonly [K in keyof IChoice]: (value: unknown) => IChoice[K] | null } = {
  size: value => (typeof value === 'string' && value.length >= 1 && value.length <= 200 ? value : null),
  isolation: value => ISOLATIONS.find(one => one === value) ?? null,
  priority: value => PRIORITIES.find(one => one === value) ?? null,
  hold: value => (typeof value === 'boolean' ? value : null),
  budget: value => (typeof value === 'string' && BUDGET.test(value) ? value : null),
  wait: value => (typeof value === 'string' && WAIT.test(value) ? value : null),
  time: value => (typeof value === 'string' && WAIT.test(value) ? value : null),
  partition: readClusterName,
  account: readClusterName,
  qos: readClusterName,
  constraint: readClusterName
};

/** The patterns of the texts, also for the inputs of the form. */
export const BUDGET = /^([0-9]{1,9}(\.[0-9]{1,6})?)?$/;
export const WAIT = /^([0-9]{1,6}(\.[0-9]{1,3})? ?(s|m|min|h|d))?$/;

/** A name of the cluster; a constraint may combine several. */
export const CLUSTER_NAME = /^([A-Za-z0-9_.,:@+&|()*[\]!=][A-Za-z0-9_.,:@+&|()*[\]!=-]{0,99})?$/;

const NAMES = Object.keys(READERS) as ReadonlyArray<keyof IChoice>;

/** Return whether the kernels of a kernelspec get a lease. */
export function isFastGPU(spec: IKernelSpec | null | undefined): boolean {
  const provisioner = field(field(spec?.metadata, 'kernel_provisioner'), 'provisioner_name');
  return provisioner === PROVISIONER;
}

/** Return the kernelspec that starts without a GPU: the default one, or the first of its language; null if none. */
export function plainKernel<T extends IKernelSpec & { readonly language: string }>(
  specs: { readonly default: string; readonly kernelspecs: { readonly [name: string]: T | undefined } } | null
): T | null {
  const plain = Object.values(specs?.kernelspecs ?? {}).flatMap(spec =>
    spec !== undefined && !isFastGPU(spec) && spec.language === 'python' ? [spec] : []
  );
  return plain.find(({ name }) => name === specs?.default) ?? plain[0] ?? null;
}

/** Return the choice with which a kernel starts if the user chooses nothing. */
export function defaultsOf(spec: IKernelSpec | null | undefined): IChoice {
  const metadata = spec?.metadata;
  const properties = field(field(metadata, 'parameters'), 'properties');
  const config = field(field(metadata, 'kernel_provisioner'), 'config');
  const own = field(metadata, 'fastgpu');
  const result: Record<string, unknown> = { ...STANDARD };
  // A kernelspec that was installed by an older version has no parameters.
  for (const source of [own, config]) {
    const size = field(source, 'memory') || field(source, 'profile');
    result.size = typeof size === 'string' && size !== '' ? size : result.size;
  }
  for (const name of NAMES) {
    const given = field(field(properties, name), 'default') ?? (name === 'size' ? null : field(own, name));
    result[name] = READERS[name](given) ?? result[name];
  }
  return result as unknown as IChoice;
}

/** What a notebook remembers: a choice, nothing, or something that cannot be used. */
export type Remembered =
  | { readonly kind: 'choice'; readonly kernel: string; readonly values: Partial<IChoice> }
  | { readonly kind: 'nothing' }
  | { readonly kind: 'newer' | 'invalid' };

/** Read the notebook's metadata, which another version may have written and anyone may have edited. */
export function readRemembered(metadata: unknown): Remembered {
  if (metadata === undefined || metadata === null) {
    return { kind: 'nothing' };
  }
  const version = field(metadata, 'version');
  if (typeof version === 'number' && Number.isInteger(version) && version > METADATA_VERSION) {
    return { kind: 'newer' };
  }
  const kernel = field(metadata, 'kernel');
  if (version !== METADATA_VERSION || typeof kernel !== 'string') {
    return { kind: 'invalid' };
  }
  const values: Record<string, unknown> = {};
  for (const name of NAMES) {
    const given = field(metadata, name);
    if (given !== undefined) {
      values[name] = READERS[name](given);
    }
  }
  return Object.values(values).includes(null)
    ? { kind: 'invalid' }
    : { kind: 'choice', kernel, values: values as Partial<IChoice> };
}

/** Return what is written into the notebook's metadata; only what differs from the defaults, and the size. */
export function rememberedOf({ kernel, choice }: IKernelChoice, defaults: IChoice): Record<string, string | number | boolean> {
  const differing = NAMES.filter(name => name === 'size' || choice[name] !== defaults[name]);
  return {
    version: METADATA_VERSION,
    kernel,
    ...Object.fromEntries(differing.map(name => [name, choice[name]]))
  };
}

/** A parameter that needs the user's consent before it exceeds the defaults. */
export type Raised = 'size' | 'priority' | 'hold' | 'budget' | 'cluster';

/** What belongs to a parameter that needs consent: on a cluster whatever is charged, and to whom. */
export const RAISED_NAMES: Readonly<Record<Raised, ReadonlyArray<keyof IChoice>>> = {
  size: ['size'],
  priority: ['priority'],
  hold: ['hold'],
  budget: ['budget'],
  cluster: ['partition', 'account', 'qos', 'time']
};

/** Return the values of a choice that belong to a parameter. */
export function valuesOf(choice: IChoice, raised: Raised): Partial<IChoice> {
  return Object.fromEntries(RAISED_NAMES[raised].map(name => [name, choice[name]]));
}

/** Return the parameters in which a choice asks for more than the defaults; of its size the rates decide that. */
export function raisedBy(choice: IChoice, defaults: IChoice, mayCostMore: boolean): Raised[] {
  const limit = ({ budget }: IChoice) => (budget === '' ? Infinity : Number(budget));
  const raised: Record<Raised, boolean> = {
    size: mayCostMore && choice.size !== defaults.size,
    priority: PRIORITIES.indexOf(choice.priority) > PRIORITIES.indexOf(defaults.priority),
    hold: choice.hold && !defaults.hold,
    budget: limit(choice) > limit(defaults),
    cluster: RAISED_NAMES.cluster.some(name => choice[name] !== '' && choice[name] !== defaults[name])
  };
  return (Object.keys(raised) as Raised[]).filter(name => raised[name]);
}

/** Return a choice with the defaults in place of what exceeds them. */
export function bounded(choice: IChoice, defaults: IChoice, raised: ReadonlyArray<Raised>): IChoice {
  return raised.reduce((bound, name) => ({ ...bound, ...valuesOf(defaults, name) }), choice);
}

/** Return the body of the request that registers a choice. */
export function parametersOf(choice: IChoice): IntentBody {
  return { ...choice };
}

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)[name]
    : undefined;
}
