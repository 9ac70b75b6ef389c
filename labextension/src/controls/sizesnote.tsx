/** What stands in place of a slider while there are no sizes to choose from. */

import * as React from 'react';

import { FormattedText } from './components';
import type { IKnownSizes } from './hooks';
import type { ITextContext } from './textcontext';

export function SizesNote(
  props: Pick<ITextContext, 'trans'> & {
    readonly known: IKnownSizes;
    /** What an answer without any size means. */
    readonly none: string;
  }
): React.JSX.Element {
  const { sizes, failure } = props.known;
  return (
    <p className="fg-Note" role="status">
      {failure !== null ? (
        <FormattedText text={failure} />
      ) : sizes === null ? (
        props.trans.__('Checking the sizes…')
      ) : (
        props.none
      )}
    </p>
  );
}
