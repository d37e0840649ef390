/* What the page was given: frames, tracks, and the people of frames, which arrive a file at a time. */

const run = JSON.parse(document.getElementById("run").textContent);
const byId = (id) => document.getElementById(id);
const frames = run.frames.map(([number, time, width, height, photo], index) => ({index, number, time, width, height, photo}));
const colorOf = new Map(run.tracks.map(({id, color}) => [id, `rgb(${color})`]));

const number = (count) => count.toLocaleString("en");
const plural = (count, one, many) => `${number(count)} ${count === 1 ? one : many}`;
const clockOf = (time) => `${Math.floor(time / 60)}:${(time % 60).toFixed(2).padStart(5, "0")}`;
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

const loading = new Map();

/* Resolves to the people of a frame, or to none if their file cannot be loaded. */
async function peopleOf(frame) {
  const file = Math.floor(frame.index / run.frames_per_file);
  if (!received.has(file)) {
    if (!loading.has(file)) loading.set(file, loadPeople(file));
    await loading.get(file);
  }
  return received.get(file)?.[frame.index % run.frames_per_file] ?? [];
}

/* Pages on the disk may not fetch files, but may run them. */
function loadPeople(file) {
  return new Promise((resolve) => {
    const done = () => { script.remove(); resolve(); };
    const script = el("script", {src: `${run.folder}/people_${String(file).padStart(5, "0")}.js`, onload: done, onerror: done});
    document.head.append(script);
  });
}

/* The last frame that begins until a time. */
function frameAt(time) {
  let [low, high] = [0, frames.length - 1];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (frames[middle].time <= time + 0.002) low = middle; // times are rounded, in the page and in files
    else high = middle - 1;
  }
  return low;
}
