/** A notebook that is open in the page, as the start of its kernel and the form need it. */

import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { Session } from '@jupyterlab/services';
import type { Widget } from '@lumino/widgets';

import type { INotebook } from './starter';

type Extension = Parameters<JupyterFrontEnd['docRegistry']['addWidgetExtension']>[1];
export type DocumentContext = Parameters<Extension['createNew']>[1];

/** The part of a notebook's model that has the metadata. */
interface IMetadata {
  getMetadata(key: string): unknown;
  setMetadata(key: string, value: unknown): void;
  deleteMetadata(key: string): void;
}

export class NotebookDocument implements INotebook {
  constructor(
    readonly widget: Widget,
    readonly context: DocumentContext,
    private readonly _key: string
  ) {}

  get path(): string {
    return this.context.path;
  }

  get sessionName(): string {
    return this.context.sessionContext.name;
  }

  get sessionPath(): string {
    return this.context.sessionContext.path;
  }

  get remembered(): unknown {
    return this._metadata?.getMetadata(this._key);
  }

  get ready(): Promise<void> {
    return this.context.sessionContext.ready;
  }

  get session(): Session.ISessionConnection | null {
    return this.context.sessionContext.session;
  }

  changeKernel(name: string): Promise<unknown> {
    return this.context.sessionContext.changeKernel({ name });
  }

  async keepKernel(): Promise<void> {
    const kernel = this.session?.kernel ?? null;
    if (kernel !== null) {
      await this.context.sessionContext.changeKernel({ id: kernel.id, name: kernel.name });
    }
  }

  stopKernel(): Promise<void> {
    return this.context.sessionContext.shutdown();
  }

  /** Whether the metadata can be written. */
  get isWritable(): boolean {
    return this._metadata !== null && !this.context.model.readOnly;
  }

  /** Write the metadata; null removes it. The user saves the document. */
  remember(value: unknown): void {
    if (value === null) {
      this._metadata?.deleteMetadata(this._key);
    } else {
      this._metadata?.setMetadata(this._key, value);
    }
  }

  private get _metadata(): IMetadata | null {
    const model = this.context.model as Partial<IMetadata>;
    return model.getMetadata !== undefined ? (model as IMetadata) : null;
  }
}
