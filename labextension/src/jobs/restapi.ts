/** The requests about jobs. */

import { URLExt } from '@jupyterlab/coreutils';

import type {
  JobDetailsView,
  JobExplanation,
  JobLog,
  JobsUsage,
  JobView,
  PruneBody,
  PruneReport
} from '../generated/api';
import { post, ServerAPI } from '../leases/request';
import {
  readJob,
  readJobDetails,
  readJobExplanation,
  readJobLog,
  readJobsUsage,
  readPruneReport
} from '../leases/validate';

/** The name of jobs in the rules of the server's authorizer. */
const JOBS_RESOURCE = 'fastgpu:jobs';

/** The most bytes of a log in one answer. */
export const LOG_PART_BYTES = 256 * 1024;

/** The requests that the model needs; tests provide a fake. `key` makes a repeated request do nothing twice. */
export interface IJobsAPI {
  cancel(id: number, key: string): Promise<JobView>;
  rerun(id: number, key: string): Promise<JobView>;
  /** Return a part of a log from byte `offset` on; a negative one counts from the end. */
  log(id: number, offset: number): Promise<JobLog>;
  explanation(id: number): Promise<JobExplanation>;
  details(id: number): Promise<JobDetailsView>;
  image(id: number, index: number): Promise<Blob>;
  file(id: number, path: string): Promise<Blob>;
  notebook(id: number): Promise<Blob>;
  usage(): Promise<JobsUsage>;
  prune(body: PruneBody, key: string): Promise<PruneReport>;
  /** Return whether the user may change jobs, as far as the server says. */
  mayChange(): Promise<boolean>;
}

/** The client that sends real requests. */
export class JobsAPI extends ServerAPI implements IJobsAPI {
  cancel(id: number, key: string): Promise<JobView> {
    return this.requestJSON(`jobs/${id}/cancel`, post({}, key), readJob);
  }

  rerun(id: number, key: string): Promise<JobView> {
    return this.requestJSON(`jobs/${id}/rerun`, post({}, key), readJob);
  }

  log(id: number, offset: number): Promise<JobLog> {
    const query = URLExt.objectToQueryString({ offset, limit: LOG_PART_BYTES });
    return this.requestJSON(`jobs/${id}/log${query}`, GET, readJobLog);
  }

  explanation(id: number): Promise<JobExplanation> {
    return this.requestJSON(`jobs/${id}/explanation`, GET, readJobExplanation);
  }

  details(id: number): Promise<JobDetailsView> {
    return this.requestJSON(`jobs/${id}/result`, GET, readJobDetails);
  }

  image(id: number, index: number): Promise<Blob> {
    return this._blob(`jobs/${id}/result/outputs/${index}`);
  }

  file(id: number, path: string): Promise<Blob> {
    return this._blob(`jobs/${id}/result/file${URLExt.objectToQueryString({ path })}`);
  }

  notebook(id: number): Promise<Blob> {
    return this._blob(`jobs/${id}/result/notebook`);
  }

  usage(): Promise<JobsUsage> {
    return this.requestJSON('jobs/usage', GET, readJobsUsage);
  }

  prune(body: PruneBody, key: string): Promise<PruneReport> {
    return this.requestJSON('jobs/prune', post(body, key), readPruneReport);
  }

  mayChange(): Promise<boolean> {
    return this.mayWrite(JOBS_RESOURCE);
  }

  private async _blob(path: string): Promise<Blob> {
    return (await this.request(path, GET)).blob();
  }
}

const GET: RequestInit = { method: 'GET', cache: 'no-store' };
