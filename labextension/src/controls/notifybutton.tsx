/** The button by which a user chooses whether a notification announces what is waited for. */

import * as React from 'react';

import type { ITextContext } from './textcontext';

/** Whether a notification announces it, and the function that changes that. */
export interface INotifyChoice {
  readonly isChosen: boolean;
  readonly choose: (isChosen: boolean) => void;
}

/** What a notifier must have so that its choices can be shown. */
interface IChoices {
  isChosen(id: string | null): boolean;
  choose(id: string | null, isChosen: boolean): void;
}

/** Return the choice for `id`; undefined where there is no notifier. */
export function notifyChoice(notifier: IChoices | null, id: string | null): INotifyChoice | undefined {
  return notifier === null
    ? undefined
    : { isChosen: notifier.isChosen(id), choose: isChosen => notifier.choose(id, isChosen) };
}

interface INotifyButtonProps extends Pick<ITextContext, 'trans'> {
  readonly notify: INotifyChoice;
}

export function NotifyButton({ notify, trans }: INotifyButtonProps): React.JSX.Element {
  return (
    <button
      type="button"
      className="fg-Button"
      onClick={() => notify.choose(!notify.isChosen)}
    >
      {notify.isChosen ? trans.__('Do not notify me') : trans.__('Notify me')}
    </button>
  );
}
