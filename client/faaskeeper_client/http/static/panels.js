// Sessions with their ephemerals, and the gateway's figures with what they cost.

import { ask } from "./api.js";
import { dollars, duration, h, number, toast } from "./dom.js";

export async function sessions(root, go) {
  let found;
  try {
    found = await ask("sessions");
  } catch (failure) {
    toast(failure.message, "bad");
    return;
  }
  const cards = found.map((each) =>
    h(
      "section",
      { class: "card session" },
      h("div", { class: "card-head" }, h("h2", { class: "mono" }, each.session), h("span", { class: `dim${each.address ? "" : " bad"}` }, each.address ?? "away")),
      h(
        "p",
        { class: "facts" },
        each.timeout ? `timeout ${duration(each.timeout)} · ` : "",
        `expires ${each.expires > 0 ? `in ${duration(each.expires)} unless it is heard of` : "any moment"}`,
        each.received === null ? "" : ` · ${number(each.received)} packets`,
        ` · ${each.watches === 1 ? "1 watch" : `${number(each.watches)} watches`}`,
      ),
      each.ephemerals.length
        ? h("ul", { class: "paths" }, ...each.ephemerals.map((path) => h("li", {}, h("button", { type: "button", class: "crumb mono", onclick: () => go(path) }, path))))
        : h("p", { class: "dim" }, "no ephemerals"),
    ),
  );
  root.replaceChildren(
    h("h1", {}, found.length === 1 ? "1 session" : `${number(found.length)} sessions`, h("span", { class: "dim" }, " at this gateway")),
    h("div", { class: "grid" }, ...cards),
  );
}

export async function gateway(root, about) {
  let now;
  try {
    now = await ask("figures");
  } catch (failure) {
    toast(failure.message, "bad");
    return;
  }
  const all = now.dollars + now.assumedFunctionDollars;
  const day = now.uptime > 60_000 ? `${dollars((all / now.uptime) * 86_400_000)} a day at this pace` : "";
  const most = Math.max(...now.calls.map((call) => call.dollars), 1e-12);
  const calls = [...now.calls].sort((one, other) => other.dollars - one.dollars || other.count - one.count);
  root.replaceChildren(
    h("h1", {}, "Gateway", h("span", { class: "dim mono" }, ` ${about.gateway}`)),
    h(
      "div",
      { class: "tiles" },
      tile("Serves", now.serving ? "yes" : "no", `up for ${duration(now.uptime)}`, now.serving ? "good" : "bad"),
      tile("Connections", number(now.connections), now.sessions === 1 ? "1 session" : `${number(now.sessions)} sessions`),
      tile("Watches", number(now.watches), `${number(now.outstanding)} writes under way`),
      latency("Reads", now.reads),
      latency("Writes", now.updates),
      tile("Cost so far", dollars(all), day),
    ),
    h(
      "section",
      { class: "card" },
      h("div", { class: "card-head" }, h("h2", {}, "What it has asked of AWS")),
      h(
        "div",
        { class: "wide" },
        h(
          "table",
          {},
          h("thead", {}, h("tr", {}, ...["", "calls", "failed", "billed", "cost"].map((name) => h("th", {}, name)))),
          h(
            "tbody",
            {},
            ...calls.map((call) =>
              h(
                "tr",
                {},
                h("td", {}, h("span", { class: "mono" }, `${call.service} ${call.operation}`), h("meter", { min: 0, max: most, value: call.dollars, "aria-hidden": "true" })),
                h("td", {}, number(call.count)),
                h("td", { class: call.failed ? "bad" : "dim" }, number(call.failed)),
                h("td", {}, call.unit === "free" ? "–" : amount(call)),
                h("td", {}, dollars(call.dollars)),
              ),
            ),
          ),
        ),
      ),
      h(
        "p",
        { class: "dim" },
        `The gateway's own calls: ${dollars(now.dollars)}, counted, at list prices of us-east-1. The functions: ${dollars(now.assumedFunctionDollars)}, assumed for ${number(now.updates.count)} writes of 100 bytes that each came alone. Capacity is as DynamoDB reports it; an embedded cloud reports too little for large reads.`,
      ),
    ),
    h(
      "section",
      { class: "card" },
      h("div", { class: "card-head" }, h("h2", {}, "What its clients have asked")),
      h("p", { class: "ops" }, ...Object.entries(now.operations).map(([name, count]) => h("span", { class: "chip" }, `${name} ${number(count)}`))),
      h("p", { class: "dim" }, about.version),
    ),
  );
}

function amount({ units, unit }) {
  const rounded = Math.round(units * 10) / 10;
  return `${number(rounded)} ${unit}${rounded === 1 ? "" : "s"}`;
}

const tile = (name, value, more, kind = "") => h("div", { class: `tile ${kind}` }, h("span", { class: "dim" }, name), h("strong", {}, value), h("span", { class: "dim" }, more));

function latency(name, { count, p50, p99 }) {
  return tile(name, number(count), count ? `median ${duration(p50)}, p99 ${duration(p99)}` : "none yet");
}
