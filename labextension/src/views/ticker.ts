/** Renders a view again as time passes, for durations; a view that has just been rendered for a change need not be. */

const TICK_MS = 1000;

/** How often it looks, so that a view is rendered about each second. */
const LOOK_MS = 250;

/** Calls a function that renders, a second after the view was rendered last and while the page is visible. */
export class Ticker {
  constructor(private readonly _render: () => void) {}

  start(): void {
    this.stop();
    this._timer = window.setInterval(() => {
      if (document.visibilityState === 'visible' && performance.now() - this._renderedAt >= TICK_MS) {
        this._render();
      }
    }, LOOK_MS);
  }

  stop(): void {
    window.clearInterval(this._timer);
    this._timer = undefined;
  }

  /** Report that the view was rendered. */
  onRendered(): void {
    this._renderedAt = performance.now();
  }

  private _timer: number | undefined;
  private _renderedAt = 0;
}
