/** The result of a job: facts, values by name and type, images and texts, and files to download. */

import * as React from 'react';

import { FormattedText } from '../controls/components';
import { textOf } from '../controls/hooks';
import type { ITextContext } from '../controls/textcontext';
import type { JobDetailsView, JobView } from '../generated/api';
import { plainText } from '../jobs/logtext';
import type { IJobsAPI } from '../jobs/restapi';
import { baseName, formatBytes, formatMoney, shortModel } from '../texts/format';
import { jobTitle, shortTime } from '../texts/job';
import { saveFile } from './savefile';

type Output = JobDetailsView['outputs'][number];

export interface IJobResultProps extends ITextContext {
  readonly jobId: number;
  /** Null if the job is not in the list any more. */
  readonly job: JobView | null;
  readonly api: IJobsAPI;
}

export function JobResult(props: IJobResultProps): React.JSX.Element {
  const { jobId, job, api, trans } = props;
  // A result that is deleted while it is shown stays on the screen.
  const shown = React.useRef<string | null>(null);
  shown.current = job?.result?.digest ?? shown.current;
  const digest = shown.current;
  const [details, setDetails] = React.useState<JobDetailsView | null>(null);
  const [failure, setFailure] = React.useState<string | null>(null);
  const [attempt, setAttempt] = React.useState(0);
  React.useEffect(() => {
    let isCurrent = true;
    api.details(jobId).then(
      loaded => {
        if (isCurrent) {
          setDetails(loaded);
          setFailure(null);
        }
      },
      (reason: unknown) => {
        if (isCurrent) {
          setFailure(textOf(reason));
        }
      }
    );
    return () => {
      isCurrent = false;
    };
  }, [api, jobId, digest, attempt]);
  const download = (load: Promise<Blob>, name: string) =>
    void load.then(
      blob => saveFile(blob, name),
      (reason: unknown) => setFailure(textOf(reason))
    );
  return (
    <div className="fg-Controls fg-JobResult">
      <h2>{job === null ? trans.__('Job %1', jobId) : jobTitle(job, trans)}</h2>
      {failure !== null && (
        <div className="fg-Note" data-kind="error" role="alert">
          <FormattedText text={failure} />
          <div className="fg-Buttons">
            <button type="button" className="fg-Button" onClick={() => setAttempt(attempt + 1)}>
              {trans.__('Try again')}
            </button>
          </div>
        </div>
      )}
      {details === null ? (
        failure === null && <p className="fg-dim">{trans.__('Loading the result…')}</p>
      ) : (
        <Details {...props} details={details} onDownload={download} />
      )}
    </div>
  );
}

function Details(
  props: IJobResultProps & {
    readonly details: JobDetailsView;
    readonly onDownload: (load: Promise<Blob>, name: string) => void;
  }
): React.JSX.Element {
  const { jobId, job, api, details, onDownload, trans, language } = props;
  const { computed_at, gpu, cost_micro, values, files, outputs, outputs_left_out, notebook_bytes } = details;
  const facts = [
    ...(computed_at === null ? [] : [trans.__('computed %1', shortTime(computed_at, Date.now(), language))]),
    ...(gpu === null ? [] : [shortModel(gpu)]),
    ...(cost_micro === null ? [] : [formatMoney(cost_micro, job?.currency ?? '', language)])
  ];
  const isEmpty = values.length + files.length + outputs.length + outputs_left_out === 0 && notebook_bytes === null;
  return (
    <>
      {facts.length > 0 && (
        <p className="fg-Facts">
          {facts.map((fact, index) => (
            <span key={index}>{fact}</span>
          ))}
        </p>
      )}
      {isEmpty && <p>{trans.__('The job left no values, no outputs and no files.')}</p>}
      {values.length > 0 && (
        <section className="fg-Controls-section" aria-label={trans.__('Values')}>
          <h3>{trans.__('Values')}</h3>
          <div className="fg-Table" tabIndex={0}>
            <table>
              <thead>
                <tr>
                  <th scope="col">{trans.__('Name')}</th>
                  <th scope="col">{trans.__('Type')}</th>
                  <th scope="col">{trans.__('Size')}</th>
                </tr>
              </thead>
              <tbody>
                {values.map(({ name, type, bytes }) => (
                  <tr key={name}>
                    <th scope="row">{name}</th>
                    <td>{type}</td>
                    <td>{formatBytes(bytes, language)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
          <p className="fg-Note">
            <FormattedText
              text={trans.__('In a notebook, %1 returns them.', `\`fastgpu_jupyter.job(${jobId}).result()\``)}
            />
          </p>
        </section>
      )}
      {(files.length > 0 || notebook_bytes !== null) && (
        <section className="fg-Controls-section" aria-label={trans.__('Files')}>
          <h3>{trans.__('Files')}</h3>
          <ul className="fg-JobFiles">
            {notebook_bytes !== null && (
              <FileLine
                trans={trans}
                language={language}
                name={trans.__('Executed notebook')}
                bytes={notebook_bytes}
                onDownload={() => onDownload(api.notebook(jobId), `job-${jobId}.ipynb`)}
              />
            )}
            {files.map(({ path, bytes }) => (
              <FileLine
                key={path}
                trans={trans}
                language={language}
                name={path}
                bytes={bytes}
                onDownload={() => onDownload(api.file(jobId, path), baseName(path))}
              />
            ))}
          </ul>
        </section>
      )}
      {(outputs.length > 0 || outputs_left_out > 0) && (
        <section className="fg-Controls-section" aria-label={trans.__('Outputs')}>
          <h3>{trans.__('Outputs')}</h3>
          {outputs.map(output => (
            <OutputView key={output.index} {...props} output={output} />
          ))}
          {outputs_left_out > 0 && (
            <p className="fg-Note" data-kind="info">
              {trans._n(
                '%1 output is not shown: only texts and images are, up to a limit.',
                '%1 outputs are not shown: only texts and images are, up to a limit.',
                outputs_left_out
              )}
            </p>
          )}
        </section>
      )}
    </>
  );
}

function FileLine(
  props: ITextContext & { readonly name: string; readonly bytes: number; readonly onDownload: () => void }
): React.JSX.Element {
  const { name, bytes, trans, language } = props;
  return (
    <li>
      <span className="fg-ellipsis" title={name}>
        {name}
      </span>
      <span className="fg-dim">{formatBytes(bytes, language)}</span>
      <button
        type="button"
        className="fg-Button"
        aria-label={trans.__('Download %1', name)}
        onClick={props.onDownload}
      >
        {trans.__('Download')}
      </button>
    </li>
  );
}

function OutputView(props: IJobResultProps & { readonly output: Output }): React.JSX.Element {
  const { output, trans } = props;
  return output.media_type === null ? (
    <pre className="fg-JobLog" data-stream={output.stream} tabIndex={0} aria-label={trans.__('Output %1', output.index + 1)}>
      {plainText(output.text)}
    </pre>
  ) : (
    <OutputImage {...props} />
  );
}

/** An image; the page shows it as an image, so that nothing in it runs. */
function OutputImage(props: IJobResultProps & { readonly output: Output }): React.JSX.Element {
  const { api, jobId, output, trans } = props;
  const [url, setUrl] = React.useState<string | null>(null);
  const [failure, setFailure] = React.useState<string | null>(null);
  React.useEffect(() => {
    let made: string | null = null;
    let isCurrent = true;
    api.image(jobId, output.index).then(
      blob => {
        if (isCurrent) {
          made = URL.createObjectURL(blob);
          setUrl(made);
        }
      },
      (reason: unknown) => setFailure(textOf(reason))
    );
    return () => {
      isCurrent = false;
      if (made !== null) {
        URL.revokeObjectURL(made);
      }
    };
  }, [api, jobId, output.index]);
  if (failure !== null) {
    return <p className="fg-Note" data-kind="error">{failure}</p>;
  }
  return url === null ? (
    <p className="fg-dim">{trans.__('Loading the image…')}</p>
  ) : (
    <img className="fg-JobImage" src={url} alt={output.text || trans.__('Output %1', output.index + 1)} />
  );
}
