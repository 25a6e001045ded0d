// Whatever changes the tree, each with what was seen: nothing is written over unseen.

import { ask, tell } from "./api.js";
import { base64Of, bytesOf, childPath, h, lastName, number, size, textOf, toast } from "./dom.js";

export function dialog(title, content, done, { verb = "Save", danger = false } = {}) {
  const problem = h("p", { class: "problem", role: "alert" });
  const submit = h("button", { type: "submit", class: danger ? "danger" : "primary" }, verb);
  const form = h(
    "form",
    { method: "dialog" },
    h("h2", {}, title),
    ...content,
    problem,
    h("div", { class: "buttons" }, h("button", { type: "button", class: "quiet", onclick: () => box.close() }, "Cancel"), submit),
  );
  const box = h("dialog", {}, form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    submit.disabled = true;
    try {
      await done(problem);
      box.close();
    } catch (failure) {
      problem.textContent = sentence(failure.message);
    } finally {
      submit.disabled = false;
    }
  });
  box.addEventListener("close", () => box.remove());
  document.body.append(box);
  box.showModal();
  return { box, problem, submit };
}

export const sentence = (text) => text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");

// text or base64, and a count of bytes that says early when it is too much
function dataInput(bytes, about) {
  const text = bytes === null ? "" : textOf(bytes);
  const area = h("textarea", { rows: "12", spellcheck: "false", "aria-label": "Data" });
  const form = h("select", { "aria-label": "As" }, h("option", { value: "text" }, "text"), h("option", { value: "base64" }, "base64"));
  const count = h("span", { class: "dim" });
  area.value = text ?? base64Of(bytes);
  form.value = text === null ? "base64" : "text";
  const value = () => {
    if (form.value === "text") return new TextEncoder().encode(area.value);
    try {
      return bytesOf(area.value.replace(/\s+/g, ""));
    } catch {
      throw new Error("this is not base64");
    }
  };
  const check = () => {
    try {
      const length = value().length;
      const over = length >= about.maxBytes;
      count.textContent = over ? `${size(length)}: a znode takes less than ${number(about.maxBytes)} bytes` : size(length);
      count.classList.toggle("bad", over);
    } catch (error) {
      count.textContent = sentence(error.message);
      count.classList.add("bad");
    }
  };
  area.addEventListener("input", check);
  form.addEventListener("change", () => {
    try {
      const now = form.value === "base64" ? new TextEncoder().encode(area.value) : bytesOf(area.value.replace(/\s+/g, ""));
      const words = form.value === "base64" ? base64Of(now) : textOf(now);
      if (words === null) throw new Error("these bytes are no text");
      area.value = words;
    } catch (error) {
      form.value = form.value === "base64" ? "text" : "base64";
      toast(sentence(error.message), "bad");
    }
    check();
  });
  check();
  area.autofocus = true;
  return {
    elements: [h("div", { class: "field" }, h("label", {}, "Data as "), form, count), area],
    encoded() {
      const data = value();
      if (data.length >= about.maxBytes) throw new Error(`that is too much: ${number(data.length)} bytes, and a znode takes less than ${number(about.maxBytes)}`);
      return base64Of(data);
    },
  };
}

export function editDialog(node, about) {
  const input = dataInput(node.data === null ? null : bytesOf(node.data), about);
  let version = node.stat.version;
  const seen = h("p", { class: "dim" }, `Written only if the data is still version ${version}.`);
  dialog(`Edit ${node.path}`, [...input.elements, seen], async (problem) => {
    try {
      await tell("set", { path: node.path, data: input.encoded(), version });
      toast("Saved");
    } catch (failure) {
      if (failure.code !== "BAD_VERSION") throw failure;
      const now = await ask("node", { path: node.path });
      const bytes = now.data === null ? new Uint8Array() : bytesOf(now.data);
      version = now.stat.version;
      seen.textContent = `Saving again replaces version ${version}.`;
      setTimeout(() =>
        problem.append(h("details", { open: true }, h("summary", {}, "What is there now"), h("pre", {}, textOf(bytes) ?? `${size(bytes.length)} that are no text`))),
      );
      throw new Error(`it has changed meanwhile: it is version ${version} now. What you wrote is still here`);
    }
  });
}

export function createDialog(parent, about, go) {
  const name = h("input", { type: "text", required: true, spellcheck: "false", autocomplete: "off", "aria-label": "Name" });
  const kind = h("select", { "aria-label": "Kind" }, ...["persistent", "container", "ttl"].map((each) => h("option", { value: each }, each === "ttl" ? "TTL" : each)));
  const sequential = h("input", { type: "checkbox", id: "sequential" });
  const ttl = h("input", { type: "number", min: "1", value: "60", "aria-label": "Seconds" });
  const seconds = h("label", { hidden: true }, " for ", ttl, " s without change");
  const input = dataInput(null, about);
  kind.addEventListener("change", () => {
    seconds.hidden = kind.value !== "ttl";
    sequential.disabled = kind.value === "container";
    if (sequential.disabled) sequential.checked = false;
  });
  const fields = [
    h("div", { class: "field" }, h("span", { class: "dim" }, parent === "/" ? "/" : `${parent}/`), name),
    h("div", { class: "field" }, kind, seconds, h("label", { for: "sequential" }, sequential, " with a sequence number")),
    ...input.elements,
    h("p", { class: "dim" }, "Its ACL lets anyone do everything. Ephemerals cannot be made here: they would go with the console's session."),
  ];
  dialog(
    `New child of ${parent}`,
    fields,
    async () => {
      const made = await tell("create", {
        path: childPath(parent, name.value),
        data: input.encoded(),
        kind: kind.value,
        sequential: sequential.checked,
        ...(kind.value === "ttl" ? { ttl: Math.round(Number(ttl.value) * 1000) } : {}),
      });
      toast(`Created ${made.path}`);
      go(made.path);
    },
    { verb: "Create" },
  );
  name.focus();
}

export function confirmDelete(node) {
  const name = lastName(node.path);
  const typed = h("input", { type: "text", required: true, spellcheck: "false", autocomplete: "off", "aria-label": "Name of the znode" });
  dialog(
    `Delete ${node.path}?`,
    [
      h("p", {}, node.stat.numChildren ? `It has ${number(node.stat.numChildren)} children, and so ZooKeeper will refuse.` : `${size(node.stat.dataLength)} of data, version ${node.stat.version}. This cannot be undone.`),
      h("div", { class: "field" }, h("label", {}, `Type ${name} to confirm `), typed),
    ],
    async () => {
      if (typed.value !== name) throw new Error(`the name is ${name}`);
      await tell("delete", { path: node.path, version: node.stat.version });
      toast(`Deleted ${node.path}`);
    },
    { verb: "Delete", danger: true },
  );
  typed.focus();
}

export function signIn(done) {
  const user = h("input", { type: "text", required: true, autocomplete: "username", "aria-label": "User" });
  const password = h("input", { type: "password", autocomplete: "current-password", "aria-label": "Password" });
  dialog(
    "Sign in",
    [
      h("p", { class: "dim" }, "As a user of ZooKeeper's digest scheme. The password goes to this gateway, which keeps it in memory for this session and uses it for ACLs alone. Whether it is right, ACLs show."),
      h("div", { class: "field" }, h("label", {}, "User "), user),
      h("div", { class: "field" }, h("label", {}, "Password "), password),
    ],
    async () => {
      await tell("sign-in", { user: user.value, password: password.value });
      done();
    },
    { verb: "Sign in" },
  );
  user.focus();
}
