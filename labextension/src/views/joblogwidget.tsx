/** The log of a job in the main area. */

import { MainAreaWidget } from '@jupyterlab/apputils';
import type { Message } from '@lumino/messaging';
import * as React from 'react';

import { jobMark, StateMark } from '../controls/statemark';
import type { ITextContext } from '../controls/textcontext';
import { formatBytes } from '../texts/format';
import { jobTitle } from '../texts/job';
import type { IJobs } from '../tokens';
import { LogContent } from './joblog';
import { Part } from './part';

export class JobLogWidget extends MainAreaWidget<LogContent> {
  constructor(options: JobLogWidget.IOptions) {
    super({ content: new LogContent(offset => options.jobs.api.log(options.jobId, offset)) });
    this._options = options;
    this.addClass('fg-JobLogWidget');
    this._tools = new Part(() => this._renderTools());
    this.toolbar.addItem('tools', this._tools);
    this.content.changed.connect(this._onContentChanged, this);
    options.jobs.changed.connect(this._onJobsChanged, this);
    this._onJobsChanged();
    this.content.loadTo(1);
  }

  get jobId(): number {
    return this._options.jobId;
  }

  override dispose(): void {
    this._options.jobs.changed.disconnect(this._onJobsChanged, this);
    super.dispose();
  }

  protected override onAfterShow(msg: Message): void {
    super.onAfterShow(msg);
    this._onJobsChanged();
    if (this.content.isFollowing) {
      this.content.isFollowing = true; // scrolls to the end
    }
  }

  private _onJobsChanged(): void {
    const { jobs, jobId, trans } = this._options;
    const job = jobs.find(jobId);
    const name = job === null ? trans.__('Job %1', jobId) : jobTitle(job, trans);
    this.title.label = trans.__('Log of %1', name);
    this.content.label = this.title.label;
    if (this.isVisible && job !== null) {
      this.content.loadTo(job.log_bytes);
    }
    this._tools.update();
  }

  private _onContentChanged(): void {
    const { content } = this;
    const { trans, language, jobId } = this._options;
    const skipped = content.skippedBytes ?? 0;
    this.content.note =
      content.failure !== null
        ? trans.__('The log could not be loaded: %1', content.failure)
        : skipped > 0
          ? trans.__(
              'The first %1 are not shown. In a terminal, “jupyter fastgpu job log %2” shows all.',
              formatBytes(skipped, language),
              jobId
            )
          : '';
    this._tools.update();
  }

  private _renderTools(): React.JSX.Element {
    const { jobs, jobId, trans } = this._options;
    const { content } = this;
    const job = jobs.find(jobId);
    return (
      <div className="fg-Controls fg-JobTools">
        {job !== null && <StateMark mark={jobMark(job, jobs.isHeard, trans)} />}
        {job === null && jobs.state.isKnown && (
          <span className="fg-dim">{trans.__('This job is not in your list of jobs.')}</span>
        )}
        <label>
          <input
            type="checkbox"
            checked={content.isFollowing}
            onChange={({ target }) => (content.isFollowing = target.checked)}
          />
          {trans.__('Follow')}
        </label>
        {content.failure !== null && (
          <button type="button" className="fg-Button" onClick={() => content.retry()}>
            {trans.__('Try again')}
          </button>
        )}
      </div>
    );
  }

  private readonly _options: JobLogWidget.IOptions;
  private readonly _tools: Part;
}

export namespace JobLogWidget {
  export interface IOptions extends ITextContext {
    readonly jobs: IJobs;
    readonly jobId: number;
  }
}
