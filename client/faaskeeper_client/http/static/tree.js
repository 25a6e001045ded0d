// The tree, loaded as it is opened: a page of children at a time.

import { ask } from "./api.js";
import { childPath, h, lastName, number, parentPath, toast } from "./dom.js";

const LARGE = 100;

export class Tree {
  constructor(root, chosen) {
    this.root = root;
    this.chosen = chosen;
    this.items = new Map();
    this.selected = null;
    root.setAttribute("role", "tree");
    root.setAttribute("aria-label", "Znodes");
    root.addEventListener("keydown", (event) => this.key(event));
    const item = this.make("/", "/", { numChildren: 1 });
    root.append(item.element);
    item.row.tabIndex = 0;
  }

  make(path, name, stat) {
    const item = { path, name, open: false, loaded: false, total: stat.numChildren ?? 0, after: "", part: "" };
    item.twist = h("span", { class: "twist", "aria-hidden": "true" });
    item.count = h("span", { class: "count" });
    const ephemeral = stat.ephemeralOwner && !/^-|^0x0$/.test(stat.ephemeralOwner);
    item.row = h(
      "div",
      { class: `row${ephemeral ? " ephemeral" : ""}${stat.closed ? " closed" : ""}`, role: "treeitem", tabindex: "-1", title: ephemeral ? `${path} (ephemeral)` : stat.closed ? `${path} (its ACL does not let you read it)` : path },
      item.twist,
      h("span", { class: "name" }, name),
      item.count,
    );
    item.group = h("ul", { role: "group", hidden: true });
    item.element = h("li", { role: "none" }, item.row, item.group);
    item.twist.addEventListener("click", (event) => {
      event.stopPropagation();
      this.toggle(item);
    });
    item.row.addEventListener("click", () => {
      this.select(path);
      if (!item.open && item.total) this.open(item);
    });
    this.items.set(path, item);
    this.draw(item);
    return item;
  }

  draw(item) {
    const leaf = item.total === 0;
    item.twist.textContent = leaf ? "" : item.open ? "▾" : "▸";
    item.count.textContent = item.loaded || item.path !== "/" ? (item.total ? number(item.total) : "") : "";
    if (leaf) item.row.removeAttribute("aria-expanded");
    else item.row.setAttribute("aria-expanded", String(item.open));
    item.group.hidden = !item.open;
  }

  async toggle(item) {
    if (!item.open) return this.open(item);
    item.open = false;
    this.draw(item);
  }

  async open(item) {
    item.open = true;
    this.draw(item);
    if (!item.loaded) await this.load(item);
  }

  async load(item, more = false) {
    let answer;
    const after = more ? item.after : "";
    item.group.classList.add("loading");
    try {
      answer = await ask("children", { path: item.path, after, part: item.part });
    } catch (failure) {
      toast(`${item.path}: ${failure.message}`, "bad");
      item.open = item.loaded;
      this.draw(item);
      return;
    } finally {
      item.group.classList.remove("loading");
    }
    if (!more) this.empty(item);
    item.loaded = true;
    item.total = answer.total;
    item.left = answer.left;
    for (const child of answer.children) this.put(item, child.name, child);
    item.after = answer.children.at(-1)?.name ?? item.after;
    this.tools(item);
    this.draw(item);
  }

  empty(item) {
    for (const element of [...item.group.children]) {
      if (element !== item.search) this.drop(element);
    }
  }

  drop(element) {
    for (const row of [...element.querySelectorAll(".row")]) this.items.delete(row.dataset.path);
    element.remove();
  }

  // in order of names, as the gateway has them: by code points
  put(item, name, stat) {
    const path = childPath(item.path, name);
    if (this.items.has(path)) return this.items.get(path);
    const child = this.make(path, name, stat);
    child.row.dataset.path = path;
    child.element.dataset.name = name;
    const more = item.moreElement?.isConnected ? item.moreElement : null;
    const last = more ? more.previousElementSibling : item.group.lastElementChild;
    if (!last?.dataset.name || compare(last.dataset.name, name) < 0) {
      item.group.insertBefore(child.element, more);
    } else {
      const next = [...item.group.children].find((each) => each.dataset.name && compare(each.dataset.name, name) > 0);
      item.group.insertBefore(child.element, next ?? null);
    }
    if (path === this.selected) this.mark(child);
    return child;
  }

  tools(item) {
    item.moreElement?.remove();
    if (item.left > 0) {
      const next = Math.min(LARGE, item.left);
      item.moreElement = h(
        "li",
        { role: "none", class: "more" },
        h("button", { type: "button", onclick: () => this.load(item, true) }, `${number(next)} more of ${number(item.left)}`),
      );
      item.group.append(item.moreElement);
    }
    if (item.total > LARGE && !item.search) {
      const input = h("input", { type: "search", placeholder: `find among ${number(item.total)}`, "aria-label": `Find among the children of ${item.path}` });
      let wait;
      input.addEventListener("input", () => {
        clearTimeout(wait);
        wait = setTimeout(() => {
          item.part = input.value;
          this.load(item);
        }, 250);
      });
      item.search = h("li", { role: "none", class: "search" }, input);
      item.group.prepend(item.search);
    }
  }

  async reveal(path) {
    const above = path === "/" ? ["/"] : ["/", ...path.split("/").slice(1, -1).map((_, at, parts) => `/${parts.slice(0, at + 1).join("/")}`)];
    for (const each of above) {
      const item = this.items.get(each) ?? this.put(this.items.get(parentPath(each)), lastName(each), { numChildren: 1 });
      if (path !== "/") await this.open(item);
    }
    if (path !== "/" && !this.items.has(path)) this.put(this.items.get(parentPath(path)), lastName(path), {});
    this.mark(this.items.get(path));
    this.items.get(path)?.row.scrollIntoView({ block: "nearest" });
  }

  forget(path) {
    const item = this.items.get(path);
    if (item && path !== "/") this.drop(item.element);
  }

  select(path) {
    this.mark(this.items.get(path));
    this.chosen(path);
  }

  mark(item) {
    if (!item) return;
    this.items.get(this.selected)?.row.removeAttribute("aria-selected");
    for (const row of this.root.querySelectorAll('.row[tabindex="0"]')) row.tabIndex = -1;
    this.selected = item.path;
    item.row.setAttribute("aria-selected", "true");
    item.row.tabIndex = 0;
  }

  changed({ kind, path }) {
    const item = this.items.get(path);
    const parent = path === "/" ? null : this.items.get(parentPath(path));
    if (kind === "created" && parent) {
      parent.total += 1;
      const within = parent.loaded && (!parent.left || compare(lastName(path), parent.after) <= 0);
      if (within && lastName(path).includes(parent.part)) flash(this.put(parent, lastName(path), {}).row);
      else if (parent.loaded) {
        parent.left += 1;
        this.tools(parent);
      }
      this.draw(parent);
    }
    if (kind === "deleted") {
      if (item) this.drop(item.element);
      if (parent) {
        parent.total = Math.max(0, parent.total - 1);
        this.draw(parent);
      }
    }
    if (kind === "data" && item) flash(item.row);
  }

  async again() {
    const open = [...this.items.values()].filter((item) => item.open).map((item) => item.path);
    for (const path of open) {
      const item = this.items.get(path);
      if (item) await this.load(item);
      if (item) item.open = true;
      if (item) this.draw(item);
    }
  }

  key(event) {
    if (event.target.tagName === "INPUT" || event.altKey || event.ctrlKey || event.metaKey) return;
    const rows = [...this.root.querySelectorAll(".row")].filter((row) => row.offsetParent);
    const row = event.target.closest(".row");
    const item = row && this.items.get(row.dataset.path ?? "/");
    if (!item) return;
    const at = rows.indexOf(row);
    const go = (target) => {
      if (!target) return;
      row.tabIndex = -1;
      target.tabIndex = 0;
      target.focus();
    };
    const keys = {
      ArrowDown: () => go(rows[at + 1]),
      ArrowUp: () => go(rows[at - 1]),
      ArrowRight: () => (item.open ? go(rows[at + 1]) : item.total && this.open(item)),
      ArrowLeft: () => (item.open && item.total ? this.toggle(item) : go(this.items.get(parentPath(item.path))?.row)),
      Home: () => go(rows[0]),
      End: () => go(rows.at(-1)),
      Enter: () => this.select(item.path),
      " ": () => this.select(item.path),
    };
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  }
}

function compare(one, other) {
  const [a, b] = [[...one], [...other]];
  for (let at = 0; at < Math.min(a.length, b.length); at += 1) {
    if (a[at] !== b[at]) return a[at].codePointAt(0) - b[at].codePointAt(0);
  }
  return a.length - b.length;
}

function flash(row) {
  row.classList.remove("flash");
  void row.offsetWidth;
  row.classList.add("flash");
}
