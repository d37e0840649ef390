const run = JSON.parse(document.getElementById("run").textContent);

/* Photos. A row is [source, frame, seconds, people, width, height]; poses arrive later, a file at a time. */

const photos = received.rows.map(([source, frame, time, people, width, height], index) =>
  ({index, source, frame, time, people, width, height, ...names(source, frame, time)}));

function names(source, frame, time) {
  const seconds = time === null ? "" : `, ${Math.floor(time / 60)}:${(time % 60).toFixed(2).padStart(5, "0")}`;
  const suffix = frame === null ? "" : ` frame ${frame}${seconds}`;
  const full = source + suffix;
  return {name: source.split(/[/\\]/).at(-1) + suffix, full, key: full.toLowerCase()};
}

const number = (count) => count.toLocaleString("en");
const plural = (count, one, many) => `${number(count)} ${count === 1 ? one : many}`;
const peopleOf = (photo) => (photo.people ? plural(photo.people, "person", "people") : "no people");

const breakablePath = (path) => breakable(path, /(?<=[/\\])/);

const loading = new Map();

/* Resolves to the poses of a photo, or to null if their file cannot be loaded. */
async function posesOf(photo) {
  const file = Math.floor(photo.index / run.photos_per_file);
  if (!received.poses.has(file)) {
    if (!loading.has(file)) loading.set(file, loadPoses(file));
    await loading.get(file);
  }
  return received.poses.get(file)?.[photo.index % run.photos_per_file] ?? null;
}

/* Pages on the disk may not fetch files, but may run them. */
function loadPoses(file) {
  return new Promise((resolve) => {
    const done = () => { script.remove(); resolve(); };
    const script = el("script", {src: `page/poses_${String(file).padStart(5, "0")}.js`, onload: done, onerror: done});
    document.head.append(script);
  });
}
