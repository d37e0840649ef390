/* The player. A video that plays leads; otherwise a clock does, over photos beside the page or an empty ground. */

const TAG = 22; // pixels above a person for its number
const player = {at: 0, isPlaying: false, picked: null, bySide: false, people: [], overlay: null, video: null, image: null};

function setUpStage() {
  const [first] = frames;
  byId("frame").style.setProperty("--aspect", first.width / first.height);
  player.overlay = overlay(first);
  if (run.video) setUpVideo();
  else if (frames.some(({photo}) => photo)) player.image = el("img", {alt: ""});
  else tell("The video is not beside the page any more: the skeletons stand alone.");
  byId("frame").replaceChildren(...[player.video ?? player.image, player.overlay].filter(Boolean));
  if (player.image) player.image.addEventListener("error", () => tell("A photo is not beside the page any more."));
}

function setUpVideo() {
  player.video = el("video", {src: run.video, preload: "auto", playsinline: true, onerror: leaveVideo, onended: pause});
  player.video.muted = true;
  const follow = (now, {mediaTime}) => {
    if (player.isPlaying) show(frameAt(mediaTime));
    player.video?.requestVideoFrameCallback(follow);
  };
  player.video.requestVideoFrameCallback(follow);
}

/* Browsers do not play all kinds of videos. The tracks are shown without it. */
function leaveVideo() {
  tell("This browser cannot play the video: the skeletons stand alone. A copy in H.264 is written by --write video.");
  player.video.remove();
  player.video = null;
}

function tell(text) {
  byId("message").hidden = false;
  byId("message").textContent = text;
}

/* Shows a frame: where the video is not there already, moves it, too. */
function show(at) {
  player.at = at;
  const frame = frames[at];
  if (player.image && frame.photo) player.image.src = frame.photo;
  for (const {photo} of player.image ? frames.slice(at + 1, at + 4) : []) if (photo) new Image().src = photo;
  byId("seek").value = at;
  byId("seek").setAttribute("aria-valuetext", `frame ${frame.number}`);
  byId("clock").textContent = `frame ${frame.number} · ${clockOf(frame.time)}`;
  byId("back").disabled = at === 0;
  byId("forward").disabled = at === frames.length - 1;
  document.documentElement.style.setProperty("--at", (at + 0.5) / frames.length);
  return draw();
}

/* The middle of a frame's time, so that rounding leads to no other one. */
function seek(at) {
  const [here, next] = [frames[at].time, frames[at + 1]?.time ?? frames[at].time + 0.02];
  if (player.video) player.video.currentTime = here + Math.min((next - here) / 2, 0.02);
  player.clock = {from: here, began: performance.now()};
  return show(at);
}

async function draw() {
  const frame = frames[player.at];
  const people = await peopleOf(frame);
  if (frame !== frames[player.at]) return;
  player.people = people;
  player.overlay.setAttribute("viewBox", `-0.5 -0.5 ${frame.width} ${frame.height}`);
  drawPeople(player.overlay, people, frame);
  [...player.overlay.children].forEach((group, i) => markTrack(group, people[i].id));
  byId("frame").classList.toggle("picked", player.picked !== null);
  byId("frame").querySelectorAll(".tag").forEach((tag) => tag.remove());
  if (drawing.skeletons) byId("frame").append(...people.map((person) => tagOf(person, frame)).filter(Boolean));
}

function markTrack(group, id) {
  group.dataset.track = id;
  group.classList.toggle("picked", id === player.picked);
  if (!player.bySide) SIDES.forEach((side) => group.style.setProperty(`--${side}`, colorOf.get(id)));
}

/* The number of a person above its highest joint. */
function tagOf(person, frame) {
  const joints = JOINTS.map((_, k) => jointOf(person, k)).filter(isShown);
  if (!joints.length) return null;
  const x = joints.reduce((sum, joint) => sum + joint.x, 0) / joints.length;
  const y = Math.min(...joints.map((joint) => joint.y));
  const place = `left: ${clamp((100 * (x + 0.5)) / frame.width, 1, 99)}%; top: max(${TAG}px, ${(100 * (y + 0.5)) / frame.height}%)`;
  return el("button", {class: "tag", style: `${place}; --color: ${colorOf.get(person.id)}`, "aria-pressed": String(person.id === player.picked),
    "aria-label": `Track ${person.id}`, onclick: () => pick(person.id === player.picked ? null : person.id)}, person.id);
}

function play() {
  if (player.at === frames.length - 1) seek(0);
  player.isPlaying = true;
  byId("play").textContent = "❚❚";
  byId("play").setAttribute("aria-label", "Pause");
  if (player.video) {
    player.video.playbackRate = Number(byId("speed").value);
    player.video.play().catch(() => {}); // `leaveVideo` tells
  }
  player.clock = {from: frames[player.at].time, began: performance.now()};
  requestAnimationFrame(tick);
}

function pause() {
  player.isPlaying = false;
  player.video?.pause();
  byId("play").textContent = "▶";
  byId("play").setAttribute("aria-label", "Play");
}

/* Without a video, the time since the start tells which frame is due. */
function tick(now) {
  if (!player.isPlaying) return;
  if (!player.video) {
    const at = frameAt(player.clock.from + ((now - player.clock.began) / 1000) * Number(byId("speed").value));
    if (at !== player.at) show(at);
    if (at === frames.length - 1) return pause();
  }
  requestAnimationFrame(tick);
}

function step(by) {
  pause();
  seek(clamp(player.at + by, 0, frames.length - 1));
}

/* Emphasizes a track, here and in the timeline; null for none. */
function pick(id) {
  player.picked = id;
  document.querySelectorAll("#tracks .row").forEach((row) => row.classList.toggle("picked", Number(row.dataset.track) === id && id !== null));
  document.querySelectorAll("#tracks .row button").forEach((button) => button.setAttribute("aria-pressed", String(Number(button.textContent) === id && id !== null)));
  return draw();
}

byId("play").addEventListener("click", () => (player.isPlaying ? pause() : play()));
byId("back").addEventListener("click", () => step(-1));
byId("forward").addEventListener("click", () => step(1));
byId("seek").addEventListener("input", (event) => { pause(); seek(Number(event.target.value)); });
byId("speed").addEventListener("change", () => { if (player.isPlaying) { pause(); play(); } });
byId("skeletons").addEventListener("change", (event) => { drawing.skeletons = event.target.checked; draw(); });
byId("by-side").addEventListener("change", (event) => { player.bySide = event.target.checked; byId("legend").hidden = !player.bySide; draw(); });
byId("threshold").value = drawing.threshold;
byId("threshold").addEventListener("input", (event) => { drawing.threshold = Number(event.target.value); showThreshold(); draw(); });
const showThreshold = () => { byId("threshold-value").textContent = drawing.threshold.toFixed(2); };
document.addEventListener("keydown", (event) => {
  if (event.target.matches(event.key === " " ? "input, select, button" : "input, select") || event.ctrlKey || event.altKey || event.metaKey) return;
  const act = {" ": () => byId("play").click(), ArrowLeft: () => step(-1), ArrowRight: () => step(1), Home: () => step(-frames.length), End: () => step(frames.length)}[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});
