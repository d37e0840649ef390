/* The timeline: a row for each track, and for each person of the ground truth. A frame is one unit wide. */

const bar = (kind, first, last, attributes = {}) =>
  svg("rect", {class: kind, x: first, y: 0.15, width: last - first + 1, height: 0.7, ...attributes});
const title = (text) => svg("title", {}, text);
const range = (first, last) => (first === last ? `frame ${frames[first].number}` : `frames ${frames[first].number} to ${frames[last].number}`);

/* A row: a button with the name, and bars, on which a click leads to the frame. */
function rowOf(label, attributes, onclick, bars) {
  const chart = svg("svg", {class: "chart", viewBox: `0 0 ${frames.length} 1`, preserveAspectRatio: "none", "aria-hidden": "true",
    onclick: (event) => { pause(); seek(placeOf(event)); }}, bars);
  return el("div", {class: "row", role: "listitem", ...attributes}, el("button", {onclick, "aria-pressed": "false"}, label), chart);
}

function placeOf(event) {
  const {left, width} = event.currentTarget.getBoundingClientRect();
  return clamp(Math.floor((frames.length * (event.clientX - left)) / width), 0, frames.length - 1);
}

function trackRow({id, runs}) {
  const gaps = runs.slice(1).map(([first], i) => [runs[i][1] + 1, first - 1]);
  const bars = runs.map(([first, last]) => bar("run", first, last, {style: `--color: ${colorOf.get(id)}`}));
  bars.push(...gaps.map(([first, last]) => fill(bar("gap", first, last), {}, [title(`lost in ${range(first, last)}`)])));
  const seen = runs.reduce((sum, [first, last]) => sum + last - first + 1, 0);
  const about = `${plural(seen, "frame", "frames")}, ${range(runs[0][0], runs.at(-1)[1])}${gaps.length ? `, ${plural(gaps.length, "gap", "gaps")}` : ""}`;
  return rowOf(id, {"data-track": id, title: `Track ${id}: ${about}`}, () => {
    const isPicked = player.picked === id;
    pick(isPicked ? null : id);
    if (!isPicked && !runs.some(([first, last]) => first <= player.at && player.at <= last)) { pause(); seek(runs[0][0]); }
  }, bars);
}

function personRow({id, runs}) {
  const bars = runs.map(([first, last, track]) => fill(bar(track === null ? "missed" : "run", first, last,
    {style: track === null ? null : `--color: ${colorOf.get(track)}`}), {},
    [title(track === null ? `missed in ${range(first, last)}` : `track ${track} in ${range(first, last)}`)]));
  const own = run.truth.switches.filter(([, person]) => person === id);
  bars.push(...own.flatMap(([at]) => ["under", "switch"].map((kind) => svg("path", {class: kind, d: `M${at} 0V1`}))));
  return rowOf(id, {"data-person": id, title: `Person ${id}: ${plural(own.length, "switch", "switches")}`}, () => { pause(); seek(runs[0][0]); }, bars);
}

function switchEntry([at, person, before, track]) {
  return el("li", {}, el("button", {class: "link", onclick: () => { pause(); seek(at); pick(track); }},
    `${range(at, at)}: person ${person} goes from track ${before} to ${track}`));
}

const key = (kind, text) => el("span", {}, el("i", {class: kind}), text);

function setUpTimeline() {
  byId("tracks").querySelector(".rows").replaceChildren(...run.tracks.map(trackRow));
  byId("tracks-legend").append(key("run", "seen"), key("gap", "lost in between"));
  if (!run.truth) return;
  byId("truth").hidden = false;
  byId("truth").querySelector(".rows").replaceChildren(...run.truth.people.map(personRow));
  byId("truth-legend").append(key("run", "in the colour of the track"), key("missed", "missed"), key("switch", "switch"));
  byId("switches").replaceChildren(...run.truth.switches.map(switchEntry));
}

function summarize() {
  const {truth, tracks} = run;
  byId("title").textContent = run.title;
  const parts = [plural(frames.length, "frame", "frames"), plural(tracks.length, "track", "tracks")];
  if (truth) parts.push(plural(truth.people.length, "person in truth", "people in truth"), plural(truth.switches.length, "switch", "switches"),
    `${number(truth.missed)} of ${number(truth.labelled)} missed`);
  byId("summary").textContent = parts.join(" · ");
}

summarize();
showThreshold();
setUpTimeline();
byId("seek").max = frames.length - 1;
setUpStage();
seek(0);
