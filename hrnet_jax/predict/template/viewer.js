/* One photo, large, with the list of its people. Its number is the fragment of the address. */

const TAG = 24; // pixels between the numbers of people
const viewer = {dialog: byId("viewer"), photo: null, people: [], groups: [], picture: null};

function openPhoto(photo) {
  const fragment = `#${photo.index + 1}`;
  if (viewer.dialog.open) location.replace(fragment);
  else location.hash = fragment;
}

/* Shows what the address says, so that the way back leads out of the viewer. */
function followAddress() {
  const photo = photos[Number(location.hash.slice(1)) - 1];
  if (photo) showPhoto(photo);
  else viewer.dialog.close();
}

function step(by) {
  const photo = grid.matching[grid.matching.indexOf(viewer.photo) + by];
  if (photo) openPhoto(photo);
}

async function showPhoto(photo) {
  viewer.photo = photo;
  if (!grid.matching.includes(photo)) clearFilters();
  const at = grid.matching.indexOf(photo);
  byId("name").textContent = photo.name;
  byId("path").replaceChildren(...breakablePath(photo.full));
  byId("place").textContent = `${number(at + 1)} of ${number(grid.matching.length)} · ${peopleOf(photo)}`;
  byId("previous").disabled = at === 0;
  byId("next").disabled = at === grid.matching.length - 1;
  if (!viewer.dialog.open) {
    viewer.dialog.querySelector(".slot").append(byId("drawing"));
    viewer.dialog.showModal();
    byId("name").focus();
  } else if (document.activeElement.disabled || document.activeElement === document.body) byId("name").focus();
  const poses = await posesOf(photo);
  if (viewer.photo === photo) fillViewer(photo, poses);
}

function fillViewer(photo, poses) {
  viewer.people = poses?.people ?? [];
  viewer.picture = overlay(photo);
  byId("frame").style.setProperty("--aspect", photo.width / photo.height);
  byId("frame").replaceChildren(...(poses ? [imageOf(photo, poses), viewer.picture] : [el("span", {class: "missing"}, "poses are missing")]));
  byId("persons").replaceChildren(...viewer.people.map(personEntry));
  if (!viewer.people.length && poses) byId("persons").append(el("p", {class: "empty"}, "No people were found."));
  if (viewer.people.length === 1) byId("persons").firstChild.open = true;
  byId("persons").parentElement.scrollTop = 0;
  redrawViewer();
}

/* The thumbnail, until the original is there. An original of another shape was turned by nobody knows whom. */
function imageOf(photo, {thumbnail, original}) {
  const image = el("img", {src: thumbnail, alt: `${photo.name}, ${peopleOf(photo)}`});
  if (original) {
    const large = new Image();
    large.onload = () => {
      const difference = Math.abs(Math.log((large.naturalWidth / large.naturalHeight) / (photo.width / photo.height)));
      if (difference < 0.02) image.src = large.src;
    };
    large.src = original;
  }
  return image;
}

function redrawViewer() {
  if (!viewer.picture) return;
  drawPeople(viewer.picture, viewer.people, viewer.photo);
  byId("frame").querySelectorAll(".tag").forEach((tag) => tag.remove());
  byId("frame").append(...tags());
  byId("persons").querySelectorAll("tr[data-joint]").forEach((row) => {
    const person = viewer.people[row.closest("details").dataset.person];
    const shown = isShown(jointOf(person, row.dataset.joint));
    row.classList.toggle("below", !shown);
    row.querySelector(".hidden").textContent = shown ? "" : ", not drawn";
  });
  settle();
}

/* Where something is in the frame, in percent. */
const position = (x, y) => `left: ${(100 * (x + 0.5)) / viewer.photo.width}%; top: ${(100 * (y + 0.5)) / viewer.photo.height}%`;
const clamp = (value, most) => Math.min(Math.max(value, 0), most);

/* The numbers of the people, at the middle of the lower side of their boxes, where they cover no face. */
function tags() {
  const {width, height} = viewer.photo;
  const gap = (TAG * width) / Math.max(byId("frame").clientWidth, 1);
  const spots = [];
  for (const [x, y, across, down] of viewer.people.map((person) => person.box)) {
    const spot = {x: (clamp(x, width) + clamp(x + across, width)) / 2, y: clamp(y + down, height)};
    const step = spot.x < width / 2 ? gap / 4 : -gap / 4;
    while (spots.some((other) => Math.hypot(other.x - spot.x, other.y - spot.y) < gap)) spot.x += step;
    spots.push(spot);
  }
  return spots.map((spot, i) => el("span", {class: "tag", style: position(spot.x, spot.y), "aria-hidden": "true",
    onpointerenter: () => highlight(i), onpointerleave: settle, onclick: () => openPerson(i)}, i + 1));
}

function openPerson(i) {
  const entry = byId("persons").children[i];
  entry.open = true;
  entry.querySelector("summary").focus();
}

/* Emphasizes person `i`, and joint `k` of it; null for none. */
function highlight(i, k = null) {
  const frame = byId("frame");
  frame.classList.toggle("picked", i !== null);
  frame.querySelectorAll(".box, .mark").forEach((node) => node.remove());
  [...viewer.picture.querySelectorAll(".person")].forEach((group, at) => group.classList.toggle("picked", at === i));
  frame.querySelectorAll(".tag").forEach((tag, at) => tag.classList.toggle("picked", at === i));
  [...byId("persons").children].forEach((entry, at) => entry.classList.toggle("picked", at === i));
  if (i === null) return;
  const [x, y, width, height] = viewer.people[i].box;
  if (width !== null) ["outline", ""].forEach((kind) => viewer.picture.append(svg("rect", {class: `box ${kind}`, x, y, width, height})));
  if (k !== null && isPlaced(jointOf(viewer.people[i], k))) frame.append(markOf(jointOf(viewer.people[i], k), jointName(k)));
}

/* A ring around a joint and its name, which stays inside of the frame. */
function markOf(joint, name) {
  const [across, down] = [joint.x / viewer.photo.width, joint.y / viewer.photo.height];
  const place = `${across < 0.2 ? "from-left" : across > 0.8 ? "from-right" : ""} ${down < 0.15 ? "under" : ""}`;
  return el("span", {class: `mark ${place}`, style: position(joint.x, joint.y), "aria-hidden": "true"}, el("span", {}, name));
}

/* Emphasizes the person that has the focus, or nobody. */
function settle() {
  const entry = document.activeElement?.closest("details[data-person]");
  highlight(entry ? Number(entry.dataset.person) : null);
}

function personEntry(person, i) {
  const hasBox = "box_score" in person;
  const label = `Person ${i + 1}, ${hasBox ? `box score ${score(person.box_score)}, ` : ""}person score ${score(person.score)}`;
  const part = (title, value, help) => el("span", {class: "number", title: help}, el("small", {}, title), " ", score(value));
  return el("details", {name: "person", "data-person": i, onpointerenter: () => highlight(i), onpointerleave: settle, onfocusin: () => highlight(i), onfocusout: settle},
    el("summary", {"aria-label": label}, el("b", {class: "tag"}, i + 1), el("span", {}, "Person"),
      hasBox ? part("box", person.box_score, "score of the box") : null,
      part("score", person.score, `score of the person, from ${hasBox ? "box and joints" : "all joints"}`)),
    el("table", {}, el("caption", {class: "hidden"}, `Joints of person ${i + 1}`),
      el("thead", {class: "hidden"}, el("tr", {}, ["joint", "score"].map((title) => el("th", {scope: "col"}, title)))),
      el("tbody", {}, JOINTS.map((_, k) => jointRow(person, i, k)))));
}

function jointRow(person, i, k) {
  const joint = jointOf(person, k);
  const bar = el("td", {class: "bar"}, score(joint.score));
  bar.style.setProperty("--bar", Math.min(Math.max(joint.score, 0), 1));
  const key = svg("svg", {width: 14, height: 12, "aria-hidden": "true"}, ["outline", ""].map((kind) => svg("path", {class: `dot ${sides[k]} ${kind}`, d: "M7 6h0"})));
  return el("tr", {"data-joint": k, onpointerenter: () => highlight(i, k), onpointerleave: () => highlight(i)},
    el("th", {scope: "row"}, key, " ", jointName(k), el("span", {class: "hidden"})), bar);
}

/* The grid turns to the page of the photo that was shown last. */
function leaveViewer() {
  document.querySelector(".tools .slot").append(byId("drawing"));
  history.replaceState(null, "", location.pathname + location.search);
  const at = grid.matching.indexOf(viewer.photo);
  if (!grid.cells.has(viewer.photo)) showPage(Math.floor(at / PER_PAGE));
  grid.cells.get(viewer.photo)?.button.focus();
}

viewer.dialog.addEventListener("close", leaveViewer);
document.addEventListener("keydown", (event) => {
  const by = {ArrowLeft: -1, ArrowRight: 1}[event.key];
  if (!viewer.dialog.open || !by || event.target.matches("input") || event.ctrlKey || event.altKey || event.metaKey) return;
  event.preventDefault();
  step(by);
});
viewer.dialog.addEventListener("click", (event) => { if (event.target === viewer.dialog) viewer.dialog.close(); });
byId("previous").addEventListener("click", () => step(-1));
byId("next").addEventListener("click", () => step(1));
byId("close").addEventListener("click", () => viewer.dialog.close());
addEventListener("hashchange", followAddress);

summarize();
fillPeopleFilter();
filter();
redraw();
if (location.hash) followAddress();
