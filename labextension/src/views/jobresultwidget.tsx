/** The result of a job in the main area. */

import { MainAreaWidget } from '@jupyterlab/apputils';
import { ReactWidget } from '@jupyterlab/ui-components';
import * as React from 'react';

import type { ITextContext } from '../controls/textcontext';
import { jobTitle } from '../texts/job';
import type { IJobs } from '../tokens';
import { JobResult } from './jobresult';

class Content extends ReactWidget {
  constructor(private readonly _options: JobResultWidget.IOptions) {
    super();
    this.addClass('fg-JobResult-scroll');
    _options.jobs.changed.connect(this.update, this);
  }

  override dispose(): void {
    this._options.jobs.changed.disconnect(this.update, this);
    super.dispose();
  }

  protected override render(): React.JSX.Element {
    const { jobs, jobId, trans, language } = this._options;
    const job = jobs.find(jobId);
    this.title.label = trans.__('Result of %1', job === null ? trans.__('Job %1', jobId) : jobTitle(job, trans));
    return <JobResult jobId={jobId} job={job} api={jobs.api} trans={trans} language={language} />;
  }
}

export class JobResultWidget extends MainAreaWidget<ReactWidget> {
  constructor(options: JobResultWidget.IOptions) {
    super({ content: new Content(options) });
    this.jobId = options.jobId;
    this.toolbar.hide();
  }

  readonly jobId: number;
}

export namespace JobResultWidget {
  export interface IOptions extends ITextContext {
    readonly jobs: IJobs;
    readonly jobId: number;
  }
}
