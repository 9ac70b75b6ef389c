/** The parameters of a start that few users change, folded, with their values in one line. */

import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { PoolClusterView } from '../generated/api';
import type { IChoice, Isolation, Priority } from '../launch/choice';
import { BUDGET, CLUSTER_NAME, ISOLATIONS, PRIORITIES, WAIT } from '../launch/choice';
import { formatDuration } from '../texts/format';
import { advancedSummary, clusterSummary, isolationName, isolationNote, priorityName } from '../texts/start';

interface IAdvancedProps {
  readonly trans: TranslationBundle;
  readonly choice: IChoice;
  readonly currency: string;
  /** Null if leases are granted on this machine. */
  readonly cluster: PoolClusterView | null;
  readonly onSet: (changes: Partial<IChoice>) => void;
  readonly id: string;
}

export function Advanced(props: IAdvancedProps & { readonly isUnfolded: boolean }): React.JSX.Element {
  const { choice, cluster, onSet, id, trans } = props;
  const [open, setOpen] = React.useState(props.isUnfolded);
  return (
    <details
      className="fg-Collapsible fg-Advanced"
      open={open}
      onToggle={event => setOpen(event.currentTarget.open)}
    >
      <summary>
        <strong>{trans.__('Advanced')}</strong>
        {!open && <span>
            {cluster !== null ? clusterSummary(choice, cluster, trans) : advancedSummary(choice, trans)}
          </span>}
      </summary>
      <div className="fg-Fields">
        {cluster !== null ? <ClusterFields {...props} cluster={cluster} /> : <LocalFields {...props} />}
        <label htmlFor={`${id}-budget`}>{trans.__('Budget of this lease')}</label>
        <input
          id={`${id}-budget`}
          data-parameter="budget"
          className="fg-Input"
          inputMode="decimal"
          pattern={BUDGET.source}
          placeholder={trans.__('no limit')}
          title={trans.__('An amount in %1, such as 20 or 2.50; empty for no limit.', props.currency)}
          value={choice.budget}
          onChange={event => onSet({ budget: event.currentTarget.value })}
        />
        <label htmlFor={`${id}-wait`}>{trans.__('Longest wait')}</label>
        <input
          id={`${id}-wait`}
          className="fg-Input"
          pattern={WAIT.source}
          placeholder={trans.__('no limit')}
          title={trans.__('A time, such as 10m or 2h; empty for no limit.')}
          value={choice.wait}
          onChange={event => onSet({ wait: event.currentTarget.value })}
        />
      </div>
    </details>
  );
}

/** What a pool chooses itself on this machine. */
function LocalFields({ choice, onSet, id, trans }: IAdvancedProps): React.JSX.Element {
  return (
    <>
        <label htmlFor={`${id}-isolation`}>{trans.__('Isolation')}</label>
        <div>
          <select
            id={`${id}-isolation`}
            className="fg-Select"
            value={choice.isolation}
            aria-describedby={`${id}-isolation-note`}
            onChange={event => onSet({ isolation: event.currentTarget.value as Isolation })}
          >
            {ISOLATIONS.map(one => (
              <option key={one} value={one}>
                {isolationName(one, trans)}
              </option>
            ))}
          </select>
          <p id={`${id}-isolation-note`} className="fg-Note">
            {isolationNote(choice.isolation, trans)}
          </p>
        </div>
        <label htmlFor={`${id}-priority`}>{trans.__('Priority')}</label>
        <select
          id={`${id}-priority`}
          data-parameter="priority"
          className="fg-Select"
          value={choice.priority}
          onChange={event => onSet({ priority: event.currentTarget.value as Priority })}
        >
          {PRIORITIES.map(one => (
            <option key={one} value={one}>
              {priorityName(one, trans)}
            </option>
          ))}
        </select>
        <label htmlFor={`${id}-hold`}>{trans.__('When idle')}</label>
        <select
          id={`${id}-hold`}
          data-parameter="hold"
          className="fg-Select"
          value={choice.hold ? 'hold' : 'yield'}
          onChange={event => onSet({ hold: event.currentTarget.value === 'hold' })}
        >
          <option value="yield">{trans.__('May be parked')}</option>
          <option value="hold">{trans.__('Keeps its GPU')}</option>
        </select>
    </>
  );
}

/** The options that the scheduler of a cluster has. */
function ClusterFields({ choice, cluster, onSet, id, trans }: IAdvancedProps & {
  readonly cluster: PoolClusterView;
}): React.JSX.Element {
  const { partitions, time_limit_default_ms: limit } = cluster;
  const longest = (cluster.kinds ?? []).reduce<number | null>(
    (found, kind) =>
      choice.partition !== '' && kind.partition !== choice.partition
        ? found
        : Math.max(found ?? 0, kind.time_limit_max_ms ?? 0) || null,
    null
  );
  const named = [
    ['account', trans.__('Account'), trans.__('Whom the cluster charges; empty for your default.')],
    ['qos', trans.__('QOS'), trans.__('The quality of service, as the cluster names it.')],
    ['constraint', trans.__('Constraint'), trans.__('Features that the node must have, such as nvlink.')]
  ] as const;
  return (
    <>
      <label htmlFor={`${id}-partition`}>{trans.__('Partition')}</label>
      <select
        id={`${id}-partition`}
        data-parameter="partition"
        className="fg-Select"
        value={choice.partition}
        onChange={event => onSet({ partition: event.currentTarget.value })}
      >
        <option value="">{trans.__('The default')}</option>
        {[...new Set([...partitions, choice.partition])].filter(Boolean).map(one => (
          <option key={one} value={one}>
            {one}
          </option>
        ))}
      </select>
      <label htmlFor={`${id}-time`}>{trans.__('Time limit')}</label>
      <div>
        <input
          id={`${id}-time`}
          className="fg-Input"
          pattern={WAIT.source}
          placeholder={limit === null ? trans.__('the default') : formatDuration(limit)}
          title={trans.__('A time, such as 30m or 4h; the cluster ends the kernel then.')}
          aria-describedby={`${id}-time-note`}
          value={choice.time}
          onChange={event => onSet({ time: event.currentTarget.value })}
        />
        <p id={`${id}-time-note`} className="fg-Note">
          {longest === null
            ? trans.__('The cluster ends the kernel then. A shorter time may start sooner.')
            : trans.__(
                'The cluster ends the kernel then; at most %1. A shorter time may start sooner.',
                formatDuration(longest)
              )}
        </p>
      </div>
      {named.map(([name, label, title]) => (
        <React.Fragment key={name}>
          <label htmlFor={`${id}-${name}`}>{label}</label>
          <input
            id={`${id}-${name}`}
            className="fg-Input"
            pattern={CLUSTER_NAME.source}
            placeholder={trans.__('the default')}
            title={title}
            value={choice[name]}
            onChange={event => onSet({ [name]: event.currentTarget.value })}
          />
        </React.Fragment>
      ))}
    </>
  );
}
