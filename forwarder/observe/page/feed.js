// What comes from the daemon: the last ten minutes once, then a moment a second. Never touches the page.
// Always holds: it is asked again as long as the page is open, and who listens knows whether the figures are of now.

const KEPT = 600; // seconds
const SILENCE = 4_000; // milliseconds without a moment: not connected
const STUCK = 15_000; // and then the connection is given up for another
const AGAIN = 2_000; // between two attempts

export class Feed {
  /** `changed` is called for each moment, for what came of the past, and when the connection is lost. */
  constructor(changed) {
    this.changed = changed;
    this.paces = [];
    this.overview = null;
    this.heard = null; // when the last moment came, by the reader's clock
    this.isConnected = false;
    this.failures = 0; // since the last moment
    this.begun = Date.now();
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && !this.isRecent()) this.connect();
    });
    window.addEventListener("pageshow", (event) => event.persisted && this.connect());
    window.addEventListener("pagehide", () => this.source?.close());
    setInterval(() => this.look(), 1_000);
    this.connect();
  }

  connect() {
    clearTimeout(this.waiting);
    this.source?.close();
    this.begun = Date.now();
    const source = new EventSource("api/events");
    this.source = source;
    source.onopen = () => this.remember();
    source.onmessage = (event) => this.take(JSON.parse(event.data));
    source.onerror = () => {
      this.failures += 1; // the first may be the end of a stream: a successor, or the same daemon, is there at once
      if (this.failures > 1 || !this.isRecent()) this.lose();
      if (source.readyState === EventSource.CLOSED && source === this.source) {
        clearTimeout(this.waiting);
        this.waiting = setTimeout(() => this.connect(), AGAIN); // refused: the browser does not try again by itself
      }
    };
  }

  isRecent() {
    return this.heard !== null && Date.now() - this.heard < SILENCE;
  }

  look() {
    if (this.isConnected && !this.isRecent()) this.lose();
    const since = Math.max(this.heard ?? 0, this.begun);
    if (Date.now() - since > STUCK) this.connect();
  }

  lose() {
    if (!this.isConnected && this.wasLost) return;
    this.wasLost = true;
    this.isConnected = false;
    this.changed(this);
  }

  take({ overview, pace }) {
    const last = this.paces.at(-1);
    if (last && overview.at < last.at) this.paces = []; // the daemon's clock was set back
    if (pace && last && pace.at - last.at > pace.seconds + 1) this.remember();
    if (pace) this.add([pace]);
    this.overview = overview;
    this.heard = Date.now();
    this.failures = 0;
    this.isConnected = true;
    this.changed(this);
  }

  /** Ask for what was; what is known already stays. */
  async remember() {
    try {
      const response = await fetch("api/history", { cache: "no-store", signal: AbortSignal.timeout(10_000) });
      if (response.ok) this.add(await response.json());
    } catch {
      return; // the next moment shows whether there is a daemon
    }
    if (this.overview) this.changed(this);
  }

  add(paces) {
    const known = new Set(this.paces.map((pace) => pace.at));
    const all = [...this.paces, ...paces.filter((pace) => !known.has(pace.at))].sort((one, other) => one.at - other.at);
    const end = all.length ? all.at(-1).at : 0;
    this.paces = all.filter((pace) => pace.at >= end - KEPT);
  }

  /** The paces of the last so many seconds. */
  lately(seconds) {
    const end = this.paces.at(-1)?.at ?? 0;
    return this.paces.filter((pace) => pace.at > end - seconds);
  }
}

/** What was counted in these seconds, by source: a second. */
export function bySource(paces) {
  const seconds = paces.reduce((sum, pace) => sum + pace.seconds, 0);
  const found = {};
  for (const pace of paces) {
    for (const [source, value] of Object.entries(pace.sources)) {
      found[source] = (found[source] ?? 0) + (value * pace.seconds) / seconds;
    }
  }
  return found;
}

/** All of them together. */
export function sum(bySomething) {
  return Object.values(bySomething).reduce((total, value) => total + value, 0);
}

/** Answered without an upstream, of all (0 to 1); null where nothing was answered: as `observe.overview` has it. */
export function hitRatio(sources) {
  const total = sum(sources);
  return total ? 1 - ((sources.upstream ?? 0) + (sources.failure ?? 0)) / total : null;
}
