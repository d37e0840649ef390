/* The grid: a page of the photos that match, each drawn when its poses are there. */

const PER_PAGE = 60;
const MANY = 5; // people; more are one entry of the filter
const MOST_LISTED = 200; // skipped photos
const ASPECTS = [0.5, 2.5]; // of a thumbnail's place; other pictures do not fill theirs
const grid = {query: "", people: "", page: 0, matching: photos, cells: new Map()};
const byId = (id) => document.getElementById(id);

function matches(photo, words) {
  const count = Math.min(photo.people, MANY);
  return (grid.people === "" || count === Number(grid.people)) && words.every((word) => photo.key.includes(word));
}

function filter() {
  const words = grid.query.toLowerCase().split(/\s+/).filter(Boolean);
  grid.matching = photos.filter((photo) => matches(photo, words));
  showPage(0);
}

function clearFilters() {
  Object.assign(grid, {query: "", people: ""});
  byId("search").value = byId("people").value = "";
  filter();
  byId("search").focus();
}

const pages = () => Math.max(1, Math.ceil(grid.matching.length / PER_PAGE));

function showPage(page) {
  grid.page = Math.min(Math.max(page, 0), pages() - 1);
  const first = grid.page * PER_PAGE;
  const shown = grid.matching.slice(first, first + PER_PAGE);
  byId("count").textContent = countText(first, shown.length);
  grid.cells = new Map(shown.map((photo) => [photo, cellOf(photo)]));
  const empty = photos.length ? ["No photo matches. ", el("button", {class: "link", onclick: clearFilters}, "Show all")] : ["There are no photos in this run."];
  byId("grid").replaceChildren(...(shown.length ? [...grid.cells.values()].map((cell) => cell.item) : [el("li", {class: "empty"}, empty)]));
  document.querySelectorAll(".pager").forEach(fillPager);
}

function countText(first, shown) {
  const [found, all] = [grid.matching.length, plural(photos.length, "photo", "photos")];
  const text = found === photos.length ? all : `${number(found)} of ${all}`;
  return shown < found ? `${text}, ${number(first + 1)} to ${number(first + shown)} shown` : text;
}

function cellOf(photo) {
  const frame = el("span", {class: "frame"});
  const aspect = Math.min(Math.max(photo.width / photo.height, ASPECTS[0]), ASPECTS[1]);
  const button = el("button", {onclick: () => openPhoto(photo), title: photo.full}, frame,
    el("span", {class: "name"}, photo.name), el("span", {class: photo.people ? "people" : "people none"}, peopleOf(photo)));
  const cell = {item: el("li", {style: `--aspect: ${aspect.toFixed(3)}`}, button), button, picture: overlay(photo), people: []};
  fillCell(cell, frame, photo);
  return cell;
}

async function fillCell(cell, frame, photo) {
  const poses = await posesOf(photo);
  if (!poses) return frame.append(el("span", {class: "missing"}, "poses are missing"));
  cell.people = poses.people;
  const failed = () => image.replaceWith(el("span", {class: "missing"}, "thumbnail is missing"));
  const image = el("img", {src: poses.thumbnail, alt: "", decoding: "async", loading: "lazy", onerror: failed});
  frame.append(image, cell.picture);
  drawPeople(cell.picture, cell.people, photo);
}

function fillPager(pager) {
  pager.hidden = pages() === 1;
  const step = (by, text, label) => {
    const page = grid.page + by;
    return el("button", {"aria-label": label, title: label, disabled: page < 0 || page >= pages(), onclick: () => turnPage(page, label)}, text);
  };
  const input = el("input", {type: "number", min: 1, max: pages(), value: grid.page + 1, "aria-label": "Page",
    onchange: (event) => turnPage(Math.round(Number(event.target.value)) - 1, "Page")});
  pager.replaceChildren(step(-1, "←", "Previous page"), input, el("span", {}, `of ${pages()}`), step(1, "→", "Next page"));
}

/* The pagers are made anew. The focus goes to the same control of the upper one. */
function turnPage(page, label) {
  const pager = document.querySelector(".pager");
  showPage(page);
  const control = pager.querySelector(`[aria-label="${label}"]`);
  (control.disabled ? pager.querySelector("input") : control).focus({preventScroll: true});
  byId("count").parentElement.scrollIntoView({block: "nearest"});
}

function moveFocus(event) {
  const buttons = [...byId("grid").querySelectorAll("li > button")];
  const at = buttons.indexOf(document.activeElement.closest("button"));
  const to = {ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: buttons.length - 1}[event.key];
  if (at < 0 || to === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
  event.preventDefault();
  buttons[to]?.focus();
}

function redraw() {
  byId("threshold-value").textContent = drawing.threshold.toFixed(2);
  for (const [photo, cell] of grid.cells) drawPeople(cell.picture, cell.people, photo);
  redrawViewer();
}

function summarize() {
  const {photos: count, people, without_people, skipped} = run.totals;
  byId("title").textContent = run.title;
  byId("summary").textContent = [plural(count, "photo", "photos"), plural(people, "person", "people"),
    ...(without_people ? [`${plural(without_people, "photo", "photos")} without people`] : [])].join(" · ");
  const listed = run.skipped.slice(0, MOST_LISTED);
  const more = skipped > listed.length ? el("li", {}, `and ${number(skipped - listed.length)} more`) : null;
  const details = byId("skipped");
  details.hidden = !skipped;
  details.querySelector("summary").textContent = `${plural(skipped, "photo", "photos")} skipped`;
  fill(details.querySelector("ul"), {}, [listed.map(([source, reason]) => el("li", {}, el("b", {}, breakablePath(source)), " ", reason)), more].flat());
}

function fillPeopleFilter() {
  const counts = [...new Set(photos.map((photo) => Math.min(photo.people, MANY)))].sort((a, b) => a - b);
  const title = (count) => (count === MANY ? `${MANY} or more` : count ? plural(count, "person", "people") : "no people");
  byId("people").append(el("option", {value: ""}, "all photos"), ...counts.map((count) => el("option", {value: count}, title(count))));
}

byId("search").addEventListener("input", (event) => { grid.query = event.target.value; filter(); });
byId("people").addEventListener("change", (event) => { grid.people = event.target.value; filter(); });
byId("skeletons").addEventListener("change", (event) => { drawing.skeletons = event.target.checked; redraw(); });
byId("threshold").addEventListener("input", (event) => { drawing.threshold = Number(event.target.value); redraw(); });
byId("grid").addEventListener("keydown", moveFocus);
byId("threshold").value = drawing.threshold;
