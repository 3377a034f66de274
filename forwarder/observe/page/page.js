// The status page: what the feed brings, written into the document. All text goes in as text, never as markup.

import { Chart, amounts, powers, shares } from "./charts.js";
import { Feed, bySource, hitRatio, sum } from "./feed.js";
import { clock, count, duration, grouped, octets, rate, roundDuration, share, span } from "./words.js";

const LATELY = 60; // seconds
const SHORT_LIST = 8;
const SLOWLY = 10_000; // milliseconds between two drawings for who wants little motion

const SOURCES = {
  exact: "the same query within a second",
  answers: "known, within its TTL",
  denial: "known not to exist",
  hosts: "pinned by the configuration",
  policy: "refused, or by rule",
  stale: "past its end, upstream late",
  upstream: "asked for",
  failure: "SERVFAIL, nobody had it",
};
const COUNTS = {
  deadline_missed: "Deadline missed",
  receive_drops: "Lost at full receive queues",
  workers_restarted: "Workers restarted",
  refused_clients: "Refused clients",
  malformed_queries: "Malformed queries",
  split_pairs: "A without its AAAA",
  client_repeats_after_failure: "Repeats after a failure",
  coalesced: "Coalesced",
  prefetches: "Prefetched",
  in_progress: "In progress now",
  tcp_connections: "TCP connections now",
};
const GRAVE = new Set(["deadline_missed", "receive_drops", "workers_restarted"]);

const calm = window.matchMedia("(prefers-reduced-motion: reduce)");
const at = (id) => document.getElementById(id);
let isPaused = false;
let drawnAt = 0;

// --- small parts

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function made(name, className, text) {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

/** As many children as there are items: those that are there are kept, so that a selection and a reader's place are too. */
function fill(parent, items, make, renew) {
  while (parent.children.length > items.length) parent.lastElementChild.remove();
  items.forEach((item, place) => {
    if (place === parent.children.length) parent.append(make(item));
    renew(parent.children[place], item);
  });
}

/** A row whose first cell is its heading; `folding` tables show each column's heading in the cell where there is no room. */
function row(headings) {
  return () => {
    const line = made("tr");
    line.setAttribute("role", "row"); // they stay what they are when the style sheet folds them
    headings.forEach(([heading, className], place) => {
      const cell = made(place ? "td" : "th", className);
      if (!place) cell.scope = "row";
      cell.setAttribute("role", place ? "cell" : "rowheader");
      cell.dataset.heading = heading;
      line.append(cell);
    });
    return line;
  };
}

/** A sentence; what is between backticks is a command or a setting. */
function say(element, sentence) {
  if (element.textContent === sentence.replaceAll("`", "")) return;
  const parts = sentence.split("`").map((part, place) => (place % 2 ? made("code", "", part) : part));
  element.replaceChildren(...parts);
}

function cells(line, texts) {
  texts.forEach((text, place) => text !== null && write(line.children[place], text));
}

function facts(list, pairs) {
  const make = () => {
    const one = made("div");
    one.append(made("dt"), made("dd"));
    return one;
  };
  fill(list, pairs, make, (one, [term, text, className]) => {
    write(one.children[0], term);
    write(one.children[1], text);
    one.className = className ?? "";
  });
}

function bar(element, part) {
  element.style.setProperty("--part", Math.min(1, Math.max(0, part)).toFixed(4));
  element.classList.toggle("full", part > 0.9);
}

function pill(element, text, kind) {
  write(element, text);
  element.className = `pill ${kind}`;
}

function byCount(counts) {
  return Object.entries(counts).sort(([, one], [, other]) => other - one);
}

// --- the sections

function showWarnings(feed) {
  const sentences = [...(feed.overview?.warnings ?? [])];
  if (!feed.isConnected && feed.heard) {
    sentences.unshift(`Not connected to the daemon: the figures are of ${clock(feed.heard / 1000)}. Trying again.`);
  } else if (!feed.isConnected && feed.wasLost) {
    sentences.unshift("The daemon does not answer. Trying again.");
  }
  const list = at("warnings-list");
  const isQuiet = !sentences.length && feed.overview !== null;
  at("warnings").classList.toggle("well", isQuiet);
  fill(list, isQuiet ? ["Nothing to say."] : sentences, () => made("li"), say);
}

function showState(feed) {
  const { overview } = feed;
  pill(at("connection"), feed.isConnected ? "live" : "not connected", feed.isConnected ? "good" : "bad");
  document.body.classList.toggle("waiting", !feed.isConnected);
  if (!overview) return;
  const isServing = overview.ready && overview.workers.every((worker) => worker.serving);
  const state = overview.ready ? (isServing ? "serving" : "serving in part") : "not ready";
  pill(at("readiness"), state, isServing ? "good" : "bad");
  write(at("identity"), `${overview.release} · up ${span(overview.at - overview.started)}`);
  write(at("clock"), `As of ${clock(overview.at)}`);
  const ratio = share(hitRatio(bySource(feed.lately(LATELY))));
  const known = feed.isConnected ? `${ratio} hits · ${state}` : "not connected";
  const mark = overview.warnings.length || !feed.isConnected ? "▲ " : "";
  document.title = `${mark}${known} · forwarder`;
}

function showHits(feed, lately) {
  write(at("hit-ratio"), share(hitRatio(lately)));
  write(at("hit-ratio-all"), `${share(hitRatio(feed.overview.sources))} since start`);
  const last = feed.paces.at(-1);
  write(at("queries"), rate(last?.queries));
  const most = feed.paces.reduce((high, pace) => Math.max(high, pace.queries), 0);
  write(at("queries-all"), `most ${rate(most)} in ten minutes · ${count(sum(feed.overview.sources))} since start`);
}

const sourceRow = row([["Source", "source"], ["Share", "number"], ["A second", "number"], ["Since start", "number"]]);

function showSources(feed, lately) {
  const total = sum(lately);
  const make = () => {
    const line = sourceRow();
    line.firstChild.append(made("span", "swatch"), made("span"), " ", made("span", "meaning"));
    return line;
  };
  fill(at("sources"), Object.keys(SOURCES), make, (line, source) => {
    const [swatch, name, meaning] = line.firstChild.children;
    swatch.className = `swatch ${source}`;
    write(name, source);
    write(meaning, SOURCES[source]);
    line.title = SOURCES[source];
    const value = lately[source] ?? 0;
    cells(line, [null, total ? share(value / total) : "–", rate(value), count(feed.overview.sources[source])]);
    line.classList.toggle("nothing", !feed.overview.sources[source]);
  });
  const parts = Object.keys(SOURCES).filter((source) => lately[source]);
  fill(at("mix"), parts, () => made("span"), (part, source) => {
    part.className = source;
    part.style.setProperty("--part", (lately[source] / total).toFixed(4));
  });
}

const latencyRow = row([["", ""], ["p50", "number"], ["p90", "number"], ["p99", "number"]]);

function showLatency(feed) {
  const last = feed.paces.findLast((pace) => pace.percentiles.p50 !== null);
  const hits = feed.paces.findLast((pace) => pace.hit_percentiles.p50 !== null);
  const lines = [["All answers", last?.percentiles], ["From memory", hits?.hit_percentiles]];
  fill(at("latency"), lines, latencyRow, (line, [name, percentiles]) => {
    cells(line, [name, duration(percentiles?.p50), duration(percentiles?.p90), duration(percentiles?.p99)]);
  });
  const isOld = last && feed.overview.at - last.at > 2;
  write(at("latency-when"), isOld ? `at ${clock(last.at)}` : "last second");
}

const upstreamRow = row([
  ["Upstream", "name"], ["State", ""], ["Queries/s", "number"], ["Failures/s", "number"],
  ["p50", "number"], ["p99", "number"], ["Connections", "number"], ["Since start", "number"],
]);

function stateOf(upstream) {
  if (!upstream.is_asked) return ["not asked any more", "idle"];
  if (upstream.is_looped) return ["asks us: left out", "bad"];
  return upstream.is_up ? ["up", "good"] : ["down", "bad"];
}

function showUpstreams(feed) {
  const { upstreams } = feed.overview;
  const paces = new Map((feed.paces.at(-1)?.upstreams ?? []).map((pace) => [pace.name, pace]));
  const make = () => {
    const line = upstreamRow();
    line.children[0].append(made("bdi"), " ", made("span", "quiet detail"));
    line.children[1].append(made("span", "pill"));
    return line;
  };
  const order = [...upstreams].sort((one, other) => other.is_asked - one.is_asked);
  fill(at("upstreams"), order, make, (line, upstream) => {
    const pace = paces.get(upstream.name);
    const failures = byCount(upstream.failures).filter(([, number]) => number);
    const reasons = failures.map(([reason, number]) => `${count(number)} ${reason}`);
    if (upstream.mismatched) reasons.push(`${count(upstream.mismatched)} that matched no query`);
    write(line.children[0].children[0], upstream.name);
    write(line.children[0].children[1], reasons.length ? `failures: ${reasons.join(", ")}` : "");
    pill(line.children[1].firstChild, ...stateOf(upstream));
    cells(line, [
      null, null, rate(pace?.queries), rate(pace?.failures), duration(pace?.percentiles.p50), duration(pace?.percentiles.p99),
      count(upstream.connections), count(sum(upstream.queries)),
    ]);
    line.children[3].classList.toggle("alarming", Boolean(pace?.failures));
    line.classList.toggle("nothing", !upstream.is_asked);
  });
  at("upstreams-none").hidden = Boolean(upstreams.length);
}

function showSaved(feed) {
  const paces = feed.lately(LATELY);
  const seconds = paces.reduce((total, pace) => total + pace.seconds, 0);
  const saved = paces.reduce((total, pace) => total + pace.denied_from_memory * pace.seconds, 0);
  const total = sum(feed.overview.sources);
  write(at("saved"), count(feed.overview.denied_from_memory));
  write(at("saved-pace"), seconds ? rate(saved / seconds) : "–");
  write(at("saved-share"), total ? share(feed.overview.denied_from_memory / total) : "–");
}

function showNames({ overview: { names } }) {
  at("names-off").hidden = names !== null;
  at("names-lists").hidden = names === null;
  write(at("names-sampled"), names === null ? "" : `last minutes, of ${count(names.sampled)} queries looked at`);
  if (names === null) return;
  for (const list of ["top", "failing", "denied"]) {
    const make = () => {
      const item = made("li");
      item.append(made("bdi", "name"), " ", made("span", "number"));
      return item;
    };
    const shown = names[list].slice(0, SHORT_LIST);
    const items = shown.length ? shown : [null];
    const most = Math.max(...shown.map((asked) => asked.share));
    fill(at(list), items, make, (item, asked) => {
      item.classList.toggle("nothing", asked === null);
      item.style.setProperty("--part", asked ? (asked.share / most).toFixed(4) : "0");
      write(item.children[0], asked ? asked.name : "none");
      item.children[0].title = asked ? asked.name : "";
      write(item.children[1], asked ? share(asked.share) : "");
    });
  }
}

const workerRow = row([["Worker", ""], ["State", ""], ["Process", "number"], ["Restarts", "number"]]);

function showWorkers({ overview: { workers } }) {
  const make = () => {
    const line = workerRow();
    line.children[1].append(made("span", "pill"), " ", made("span", "quiet detail"));
    return line;
  };
  fill(at("workers"), workers, make, (line, worker) => {
    pill(line.children[1].firstChild, worker.state, worker.serving ? "good" : "bad");
    write(line.children[1].children[1], worker.last_end ? `before: ${worker.last_end}` : "");
    cells(line, [String(worker.number), null, worker.pid === null ? "–" : String(worker.pid), count(worker.restarts)]);
  });
}

function showCache({ overview: { cache } }) {
  write(at("cache-octets"), octets(cache.octets));
  write(at("cache-limit"), `of ${octets(cache.max_octets)}`);
  bar(at("cache-bar"), cache.max_octets ? cache.octets / cache.max_octets : 0);
  const kinds = Object.entries(cache.entries).map(([kind, number]) => [`Entries, ${kind}`, count(number)]);
  facts(at("cache"), [...kinds, ["Evicted since start", count(cache.evictions)]]);
}

function showConntrack({ overview: { conntrack } }) {
  at("conntrack").hidden = conntrack === null;
  if (conntrack === null) return;
  const most = conntrack.max_entries;
  write(at("conntrack-entries"), grouped(conntrack.entries));
  write(at("conntrack-limit"), most ? `of ${grouped(most)} connections` : "connections");
  bar(at("conntrack-bar"), most ? conntrack.entries / most : 0);
  at("conntrack-bar").hidden = !most;
  const alarming = (number) => (number ? "alarming" : "");
  facts(at("conntrack-facts"), [
    ["Insertions failed", count(conntrack.insert_failed), alarming(conntrack.insert_failed)],
    ["Packets dropped", count(conntrack.drop), alarming(conntrack.drop)],
  ]);
}

function showRest({ overview }) {
  const all = sum(overview.types);
  const asShares = (counts) => byCount(counts).slice(0, SHORT_LIST).map(([name, number]) => [name, share(number / all)]);
  const some = (pairs) => (pairs.length ? pairs : [["none yet", ""]]);
  facts(at("types"), some(asShares(overview.types)));
  facts(at("rcodes"), some(asShares(overview.rcodes)));
  facts(at("transports"), some(byCount(overview.transports).map(([name, number]) => [name.toUpperCase(), count(number)])));
  const known = Object.entries(COUNTS).filter(([name]) => name in overview.counted);
  facts(at("counts"), known.map(([name, words]) => {
    const number = overview.counted[name];
    return [words, count(number), GRAVE.has(name) && number ? "alarming" : ""];
  }));
}

// --- the charts

const log10 = (value) => (value === null ? null : Math.log10(Math.max(value, 1e-6)));
const percentile = (name) => ({ class: name, value: (pace) => log10(pace.percentiles[name]) });
const known = (points, value) => points.map(value).filter((one) => one !== null);

const charts = {
  hits: new Chart(at("chart-hits"), {
    lines: [{ class: "ratio", value: (pace) => pace.hit_ratio, isArea: true }],
    scale: shares,
    written: (pace) => `${clock(pace.at)}  ${share(pace.hit_ratio)}`,
    told: (points, minutes) => {
      const values = known(points, (pace) => pace.hit_ratio);
      if (!values.length) return "Hit ratio over time: nothing was answered";
      const [low, high] = [Math.min(...values), Math.max(...values)];
      return `Hit ratio over ${minutes} min: now ${share(values.at(-1))}, lowest ${share(low)}, highest ${share(high)}`;
    },
  }),
  queries: new Chart(at("chart-queries"), {
    lines: Object.keys(SOURCES).map((source) => ({ class: source, value: (pace) => pace.sources[source] ?? 0 })),
    isStacked: true,
    scale: amounts(rate),
    written: (pace) => `${clock(pace.at)}  ${rate(pace.queries)}/s, ${rate(pace.sources.upstream)}/s of them from upstream`,
    told: (points, minutes) => {
      const values = points.map((pace) => pace.queries);
      const most = Math.max(...values);
      return `Queries a second over ${minutes} min, by source: now ${rate(values.at(-1))}, at most ${rate(most)}`;
    },
  }),
  latency: new Chart(at("chart-latency"), {
    lines: [percentile("p99"), percentile("p90"), percentile("p50")],
    scale: powers(roundDuration),
    written: (pace) => {
      const { p50, p90, p99 } = pace.percentiles;
      return `${clock(pace.at)}  p50 ${duration(p50)}, p90 ${duration(p90)}, p99 ${duration(p99)}`;
    },
    told: (points, minutes) => {
      const values = known(points, (pace) => pace.percentiles.p99);
      if (!values.length) return "Time to answer over time: nothing was answered";
      return `Time to answer over ${minutes} min: p99 now ${duration(values.at(-1))}, at most ${duration(Math.max(...values))}`;
    },
  }),
};

// --- all of it

function show(feed) {
  showWarnings(feed);
  showState(feed);
  const isTooSoon = calm.matches && Date.now() - drawnAt < SLOWLY && feed.isConnected;
  if (!feed.overview || isPaused || isTooSoon || document.hidden) return;
  drawnAt = Date.now();
  const lately = bySource(feed.lately(LATELY));
  showHits(feed, lately);
  showSources(feed, lately);
  showLatency(feed);
  showUpstreams(feed);
  showSaved(feed);
  showNames(feed);
  showWorkers(feed);
  showCache(feed);
  showConntrack(feed);
  showRest(feed);
  for (const chart of Object.values(charts)) chart.draw(feed.paces);
}

const feed = new Feed(show);

at("pause").addEventListener("click", () => {
  isPaused = !isPaused;
  at("pause").setAttribute("aria-pressed", String(isPaused));
  document.body.classList.toggle("paused", isPaused);
  drawnAt = 0;
  show(feed);
});
document.addEventListener("visibilitychange", () => {
  drawnAt = 0;
  show(feed);
});
