// One znode: its data as text, JSON or bytes, its Stat in words, its ACL.

import { ask } from "./api.js";
import { ago, bytesOf, childPath, h, lastName, number, size, textOf, toast, duration } from "./dom.js";
import { confirmDelete, createDialog, editDialog } from "./edit.js";

const SHOWN_TEXT = 200_000;
const SHOWN_BYTES = 16_384;
const LETTERS = [[1, "read"], [2, "write"], [4, "create"], [8, "delete"], [16, "admin"]];

export class NodeView {
  constructor(root, { about, go, back }) {
    this.root = root;
    this.about = about;
    this.go = go;
    this.back = back;
    this.path = null;
    this.form = null;
    this.turn = 0;
  }

  async show(path) {
    const turn = ++this.turn;
    if (path !== this.path) this.form = null;
    this.path = path;
    let node = null;
    let failure = null;
    try {
      node = await ask("node", { path });
    } catch (error) {
      failure = error;
    }
    if (turn !== this.turn) return;
    this.node = node;
    this.root.replaceChildren(this.head(path, node), failure ? this.missing(failure) : this.body(node));
  }

  head(path, node) {
    const parts = path === "/" ? [] : path.slice(1).split("/");
    const crumbs = [h("button", { type: "button", class: "crumb", onclick: () => this.go("/") }, "/")];
    let at = "/";
    for (const [number, part] of parts.entries()) {
      const target = (at = childPath(at, part));
      if (number) crumbs.push(h("span", { class: "slash" }, "/"));
      crumbs.push(h("button", { type: "button", class: "crumb", onclick: () => this.go(target) }, part));
    }
    const write = this.about().write;
    return h(
      "div",
      { class: "node-head" },
      h("button", { type: "button", class: "quiet back", onclick: this.back }, "← tree"),
      h("h1", {}, ...crumbs),
      h(
        "div",
        { class: "actions" },
        h("button", { type: "button", class: "quiet", onclick: () => this.copy(path) }, "Copy path"),
        node?.data != null && h("button", { type: "button", class: "quiet", onclick: () => save(node) }, "Save data"),
        write && node && h("button", { type: "button", id: "edit", onclick: () => editDialog(node, this.about()) }, "Edit"),
        write && node && h("button", { type: "button", id: "create", onclick: () => createDialog(path, this.about(), this.go) }, "New child"),
        write && node && path !== "/" && h("button", { type: "button", id: "delete", class: "danger", onclick: () => confirmDelete(node) }, "Delete"),
      ),
    );
  }

  missing(failure) {
    const words = failure.status === 404 ? "There is no such znode. If it is created, it shows here." : capital(failure.message);
    return h("p", { class: "empty" }, words);
  }

  body(node) {
    return h("div", { class: "cards" }, this.data(node), stat(node.stat), acl(node.acl));
  }

  data(node) {
    const bytes = node.data === null ? null : bytesOf(node.data);
    const text = bytes && textOf(bytes);
    const json = text === null ? undefined : parsed(text);
    const forms = { text: text !== null, json: json !== undefined, bytes: true };
    const form = this.form && forms[this.form] ? this.form : json !== undefined ? "json" : text !== null ? "text" : "bytes";
    const view = h("div", { class: "data" });
    const choose = (name) => {
      this.form = name;
      const words = bytes === null || bytes.length === 0 ? h("p", { class: "empty" }, bytes === null ? "null: no data" : "empty: 0 bytes") : null;
      view.replaceChildren(words ?? { text: () => plain(text), json: () => coloured(json), bytes: () => dump(bytes) }[name]());
      for (const tab of tabs.children) tab.setAttribute("aria-selected", String(tab.dataset.form === name));
    };
    const tabs = h(
      "div",
      { class: "tabs", role: "tablist" },
      ...Object.entries(forms).map(([name, fits]) =>
        h("button", { type: "button", role: "tab", "data-form": name, disabled: !fits, onclick: () => choose(name) }, { text: "Text", json: "JSON", bytes: "Bytes" }[name]),
      ),
    );
    choose(form);
    return h("section", { class: "card data-card" }, h("div", { class: "card-head" }, h("h2", {}, "Data"), h("span", { class: "dim" }, size(bytes?.length ?? 0)), tabs), view);
  }

  async copy(path) {
    try {
      await navigator.clipboard.writeText(path);
      toast("The path is in the clipboard");
    } catch {
      toast("This browser does not let the page copy", "bad");
    }
  }
}

const capital = (text) => text[0].toUpperCase() + text.slice(1);

function parsed(text) {
  if (!/^\s*[[{]/.test(text)) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function plain(text) {
  const shown = text.slice(0, SHOWN_TEXT);
  return h("pre", { tabindex: "0" }, shown, shown.length < text.length ? h("span", { class: "dim" }, `\n… ${number(text.length - shown.length)} characters more: save the data to see them`) : null);
}

function coloured(value) {
  const text = JSON.stringify(value, null, 2);
  if (text.length > SHOWN_TEXT) return plain(text);
  const pieces = [];
  let at = 0;
  for (const match of text.matchAll(/("(?:\\.|[^"\\])*")(\s*:)?|\b(true|false|null)\b|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g)) {
    pieces.push(text.slice(at, match.index));
    const kind = match[1] ? (match[2] ? "key" : "string") : match[3] ? "word" : "number";
    pieces.push(h("span", { class: `json-${kind}` }, match[1] ?? match[0]), match[2] ?? "");
    at = match.index + match[0].length;
  }
  return h("pre", { tabindex: "0" }, ...pieces, text.slice(at));
}

function dump(bytes) {
  const lines = [];
  for (let at = 0; at < Math.min(bytes.length, SHOWN_BYTES); at += 16) {
    const line = [...bytes.subarray(at, at + 16)];
    const hex = line.map((byte) => byte.toString(16).padStart(2, "0")).join(" ").padEnd(47);
    lines.push(`${at.toString(16).padStart(6, "0")}  ${hex}  ${line.map((byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : "·")).join("")}`);
  }
  if (bytes.length > SHOWN_BYTES) lines.push(`… ${number(bytes.length - SHOWN_BYTES)} bytes more: save the data to see them`);
  return h("pre", { class: "dump", tabindex: "0" }, lines.join("\n"));
}

function save(node) {
  const url = URL.createObjectURL(new Blob([bytesOf(node.data)], { type: "application/octet-stream" }));
  h("a", { href: url, download: lastName(node.path) || "root" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

function owner(text) {
  const value = BigInt.asUintN(64, text.startsWith("-") ? -BigInt(text.slice(1)) : BigInt(text));
  if (value === 0n) return ["persistent", "stays until it is deleted"];
  if (value === 1n << 63n) return ["container", "goes when its last child has gone"];
  if (value >> 56n === 0xffn) return ["TTL", `goes when it has no children and was not changed for ${duration(Number(value & 0xffffffffffn))}`];
  return ["ephemeral", `goes with session ${text}`];
}

function stat(stat) {
  const [kind, fate] = owner(stat.ephemeralOwner);
  const time = (at) => h("time", { datetime: new Date(at).toISOString(), title: new Date(at).toISOString() }, ago(at));
  const rows = [
    ["Kind", [h("span", { class: `kind ${kind.toLowerCase()}` }, kind), ` ${fate}`]],
    ["Created", stat.ctime ? [time(stat.ctime), zxid(stat.czxid)] : ["with the service"]],
    ["Data changed", stat.version ? [time(stat.mtime), `, ${times(stat.version)}`, zxid(stat.mzxid)] : ["never since"]],
    ["Children", [number(stat.numChildren), stat.cversion > 0 ? `, created or deleted ${times(stat.cversion)}` : "", stat.pzxid !== stat.czxid ? zxid(stat.pzxid) : ""]],
    ["ACL changed", [stat.aversion ? times(stat.aversion) : "never"]],
    ["Versions", [`data ${stat.version}, children ${stat.cversion}, ACL ${stat.aversion}`]],
  ];
  return h("section", { class: "card" }, h("div", { class: "card-head" }, h("h2", {}, "Stat")), h("dl", {}, ...rows.flatMap(([name, words]) => [h("dt", {}, name), h("dd", {}, ...words)])));
}

const times = (count) => (count === 1 ? "once" : `${number(count)} times`);
const zxid = (value) => h("span", { class: "zxid" }, `zxid ${value}`);

function acl(entries) {
  const who = ({ scheme, id }) => (scheme === "world" ? "anyone" : `${scheme}:${id}`);
  const row = (entry) => {
    const may = LETTERS.filter(([bit]) => entry.perms & bit).map(([, word]) => word);
    return h("li", {}, h("span", { class: "who" }, who(entry)), ...(may.length === 5 ? [h("span", { class: "perm" }, "everything")] : may.map((word) => h("span", { class: "perm" }, word))));
  };
  return h("section", { class: "card" }, h("div", { class: "card-head" }, h("h2", {}, "ACL")), h("ul", { class: "acl" }, ...entries.map(row)));
}
