/* People as SVG over a picture, in photo pixels. */

const drawing = {skeletons: true, threshold: run.joint_score};
const SIDES = ["middle", "right", "left"];
const {joints: JOINTS, sides, limbs, colors} = run.skeleton;
const jointName = (k) => JOINTS[k].replaceAll("_", " ");
const score = (value) => (value === null ? "–" : value.toFixed(2));

for (const [side, color] of Object.entries(colors)) document.documentElement.style.setProperty(`--${side}`, `rgb(${color})`);

const jointOf = (person, k) => ({x: person.joints[3 * k], y: person.joints[3 * k + 1], score: person.joints[3 * k + 2]});
const isPlaced = (joint) => joint.x !== null && joint.y !== null;
const isShown = (joint) => isPlaced(joint) && (drawing.threshold === 0 || joint.score >= drawing.threshold);

function sideOfLimb([a, b]) {
  const both = new Set([sides[a], sides[b]]);
  both.delete("middle");
  return both.size === 1 ? [...both][0] : "middle";
}

/* The pixel centres of a photo are at whole numbers, so its corner is at -0.5. */
const overlay = (photo) => svg("svg", {viewBox: `-0.5 -0.5 ${photo.width} ${photo.height}`, "aria-hidden": "true"});

/* The longer side of what is drawn of a person, relative to the height of the photo. */
function extent(joints, photo) {
  const span = (values) => Math.max(...values) - Math.min(...values);
  return Math.max(span(joints.map(({x}) => x)), span(joints.map(({y}) => y))) / photo.height;
}

/* Dots are lines of no length: their caps are round for left joints and square for right ones. */
function drawPerson(person, photo) {
  const joints = JOINTS.map((_, k) => jointOf(person, k));
  const lines = limbs.filter(([a, b]) => isShown(joints[a]) && isShown(joints[b]));
  const spots = joints.map((_, k) => k).filter((k) => isShown(joints[k]));
  const limb = ([a, b]) => `M${joints[a].x} ${joints[a].y}L${joints[b].x} ${joints[b].y}`;
  const dot = (k) => `M${joints[k].x} ${joints[k].y}h0`;
  const path = (kind, parts) => (parts.length ? svg("path", {class: kind, d: parts.join("")}) : null);
  const dots = SIDES.map((side) => [side, spots.filter((k) => sides[k] === side).map(dot)]);
  const size = spots.length ? extent(spots.map((k) => joints[k]), photo) : 0;
  return svg("g", {class: "person", style: `--size: ${size.toFixed(3)}`},
    path("limb outline", lines.map(limb)),
    SIDES.map((side) => path(`limb ${side}`, lines.filter((pair) => sideOfLimb(pair) === side).map(limb))),
    dots.map(([side, parts]) => path(`dot ${side} outline`, parts)),
    dots.map(([side, parts]) => path(`dot ${side}`, parts)));
}

function drawPeople(picture, people, photo) {
  picture.replaceChildren(...(drawing.skeletons ? people.map((person) => drawPerson(person, photo)) : []));
}

function legend() {
  const sample = (side) => svg("svg", {width: 34, height: 14, viewBox: "0 0 34 14", "aria-hidden": "true"},
    svg("path", {class: "limb outline", d: "M6 7H28"}), svg("path", {class: `limb ${side}`, d: "M6 7H28"}),
    svg("path", {class: `dot ${side} outline`, d: "M6 7h0M28 7h0"}), svg("path", {class: `dot ${side}`, d: "M6 7h0M28 7h0"}));
  const shape = {left: "blue, solid", right: "orange, dashed"};
  return ["left", "right"].filter((side) => sides.includes(side)).map((side) =>
    el("span", {title: `The person’s ${side}: ${shape[side]}`}, sample(side), side));
}

document.getElementById("legend").append(...legend());
