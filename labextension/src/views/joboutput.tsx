/** The output of a cell that was submitted as a job: it follows the job as long as the page is open. */

import type { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import { ReactWidget } from '@jupyterlab/ui-components';
import * as React from 'react';

import type { IJobCallbacks } from '../controls/jobbody';
import { LiveJob } from '../controls/livejob';
import { notifyChoice } from '../controls/notifybutton';
import type { ITextContext } from '../controls/textcontext';
import type { JobView } from '../generated/api';
import { isOver, isSameJob } from '../jobs/job';
import { readJob } from '../leases/validate';
import type { IJobNotifier, IJobs } from '../tokens';
import { FocusRestorer } from './focus';

/** The type of the output; `jobs/rendering.py` makes it, beside text and HTML for pages without this extension. */
export const JOB_MIME = 'application/vnd.fastgpu.job+json';

export class JobOutput extends ReactWidget implements IRenderMime.IRenderer {
  constructor(options: JobOutput.IOptions) {
    super();
    this._options = options;
    this.addClass('fg-JobOutput');
    this._focus = new FocusRestorer(this.node);
    options.jobs.changed.connect(this.update, this);
    options.notifier?.changed.connect(this.update, this);
  }

  renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    this._saved = readOutput(model.data[JOB_MIME]);
    this.update();
    return this.renderPromise ?? Promise.resolve();
  }

  override dispose(): void {
    this._options.jobs.changed.disconnect(this.update, this);
    this._options.notifier?.changed.disconnect(this.update, this);
    this._focus.dispose();
    super.dispose();
  }

  protected override render(): React.JSX.Element | null {
    const { jobs, notifier, trans, language } = this._options;
    const saved = this._saved;
    if (saved === null) {
      return <p className="fg-Note">{trans.__('This output of a job cannot be read.')}</p>;
    }
    const listed = jobs.find(saved.id);
    const isOwn = listed !== null && isSameJob(listed, saved);
    const job = isOwn ? listed : saved;
    return (
      <LiveJob
        {...this._options}
        job={job}
        origin={isOwn ? 'list' : jobs.state.isKnown ? 'saved' : 'unheard'}
        isHeard={jobs.isHeard}
        heardAt={jobs.heardAt}
        failure={jobs.state.unreachable?.message ?? null}
        canAct={jobs.canAct}
        isPending={jobs.pending.has(job.id)}
        gpu={jobs.gpuOf(job)}
        rate={isOver(job) ? jobs.rateOf(job.size) : null}
        notify={notifyChoice(notifier, String(job.id))}
        now={jobs.now()}
        trans={trans}
        language={language}
      />
    );
  }

  private readonly _options: JobOutput.IOptions;
  private readonly _focus: FocusRestorer;
  private _saved: JobView | null = null;
}

export namespace JobOutput {
  export interface IOptions extends ITextContext, IJobCallbacks {
    readonly jobs: IJobs;
    readonly notifier: IJobNotifier | null;
  }
}

/** Return the job of an output, which a saved notebook may have changed; null if it is none. */
function readOutput(value: unknown): JobView | null {
  try {
    return readJob((value as { readonly view?: unknown } | null)?.view);
  } catch {
    return null;
  }
}
