// The whole page: which view shows, where it is, what it hears.

import { ask, listen, tell } from "./api.js";
import { find, h, parentPath, toast } from "./dom.js";
import { dialog, signIn } from "./edit.js";
import { NodeView } from "./node.js";
import { gateway, sessions } from "./panels.js";
import { Tree } from "./tree.js";

const VIEWS = ["tree", "sessions", "gateway"];
const REFRESH = 5000;
const SOON = 150;

let about = {};
let view = "tree";

const tree = new Tree(find("#tree"), go);
const node = new NodeView(find("#node"), { about: () => about, go, back: () => document.body.classList.remove("reading") });

// the address says what shows: #/path of a znode, or #sessions, #gateway
function go(path) {
  if (location.hash === `#${encodeURI(path)}`) place();
  else location.hash = encodeURI(path);
}

async function place() {
  const hash = decodeURI(location.hash.slice(1)) || "/";
  const next = VIEWS.includes(hash) ? hash : "tree";
  view = next;
  for (const name of VIEWS) {
    find(`#view-${name}`).hidden = name !== view;
    find(`[data-view=${name}]`).toggleAttribute("aria-current", name === view);
  }
  if (view !== "tree") return refresh();
  const path = hash.startsWith("/") ? hash : "/";
  find("#path").value = path === "/" ? "" : path;
  document.body.classList.toggle("reading", path !== "/");
  await node.show(path);
  if (node.node) await tree.reveal(path);
}

function refresh() {
  if (document.hidden) return undefined;
  if (view === "sessions") return sessions(find("#view-sessions"), go);
  if (view === "gateway") return gateway(find("#view-gateway"), about);
  return undefined;
}

let soon = null;
function changed(change) {
  tree.changed(change);
  const concerns = change.path === node.path || parentPath(change.path) === node.path;
  if (!concerns || soon) return;
  soon = setTimeout(async () => {
    soon = null;
    await node.show(node.path);
  }, SOON);
}

const live = find("#live");
const feed = listen({
  changed,
  again: () => Promise.all([tree.again(), node.path && node.show(node.path)]),
  live: () => {
    live.textContent = "live";
    live.className = "live on";
    live.title = "Changes show as they happen";
  },
  lost: (reason) => {
    live.textContent = "away";
    live.className = "live off";
    live.title = reason;
  },
});

async function meet() {
  try {
    about = await ask("about");
  } catch (failure) {
    toast(failure.message, "bad");
    return;
  }
  find("#service").textContent = about.service;
  find("#region").textContent = about.region;
  document.title = `${about.service} · FaaSKeeper`;
  const user = find("#user");
  user.textContent = about.user ? `${about.user} · sign out` : "Sign in";
  user.onclick = async () => {
    if (!about.user) return signIn(again);
    await tell("sign-out");
    return again();
  };
}

async function again() {
  await meet();
  feed.restart();
  await Promise.all([tree.again(), place()]);
}

const HELP = [
  ["/", "go to a path"],
  ["↑ ↓", "from znode to znode"],
  ["→ ←", "open and close"],
  ["Enter", "show a znode"],
  ["e  n", "edit it, make a child of it (with --http-write)"],
  ["1 2 3", "tree, sessions, gateway"],
  ["t", "dark or light"],
  ["?", "this"],
];

function help() {
  const list = h("dl", { class: "keys" }, ...HELP.flatMap(([key, words]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, words)]));
  dialog("Keys", [list], () => {}, { verb: "Close" });
}

function theme(next) {
  const dark = next ?? (document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
  document.documentElement.dataset.theme = dark;
  try {
    localStorage.setItem("theme", dark);
  } catch {
    // a browser that keeps nothing shows what the system wants
  }
}

const turn = () => {
  const dark = document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  theme(dark === "dark" ? "light" : "dark");
};

document.addEventListener("keydown", (event) => {
  if (event.target.closest("input, textarea, select, dialog") || event.altKey || event.ctrlKey || event.metaKey) return;
  const keys = {
    "/": () => find("#path").focus(),
    "?": help,
    t: turn,
    e: () => find("#edit")?.click(),
    n: () => find("#create")?.click(),
    1: () => go(node.path ?? "/"),
    2: () => (location.hash = "sessions"),
    3: () => (location.hash = "gateway"),
  };
  if (!keys[event.key]) return;
  event.preventDefault();
  keys[event.key]();
});

find("#jump").addEventListener("submit", (event) => {
  event.preventDefault();
  const path = find("#path").value.trim().replace(/(.)\/+$/, "$1") || "/";
  go(path.startsWith("/") ? path : `/${path}`);
  find("#node").focus();
});
for (const name of VIEWS) {
  find(`[data-view=${name}]`).addEventListener("click", () => (name === "tree" ? go(node.path ?? "/") : (location.hash = name)));
}
find("#theme").addEventListener("click", turn);
find("#help").addEventListener("click", help);
window.addEventListener("hashchange", place);
setInterval(refresh, REFRESH);

try {
  if (localStorage.getItem("theme")) theme(localStorage.getItem("theme"));
} catch {
  // likewise
}
await meet();
await tree.open(tree.items.get("/"));
await place();
