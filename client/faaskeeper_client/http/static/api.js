// Questions to the gateway, and what it tells unasked.

export class Failure extends Error {
  constructor(reason, status, code) {
    super(reason);
    this.status = status;
    this.code = code;
  }
}

async function answered(request) {
  let response;
  try {
    response = await request;
  } catch {
    throw new Failure("the gateway does not answer: it may have stopped", 0);
  }
  let body = null;
  try {
    body = await response.json();
  } catch {
    // an answer that is no JSON says nothing but its status
  }
  if (!response.ok) throw new Failure(body?.error ?? `the gateway answers ${response.status}`, response.status, body?.code);
  return body;
}

export function ask(name, parameters = {}) {
  return answered(fetch(`/api/${name}?${new URLSearchParams(parameters)}`));
}

export function tell(name, body = {}) {
  return answered(
    fetch(`/api/${name}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) }),
  );
}

export function listen({ changed, again, live, lost }) {
  let source;
  let wasOpen = false;
  const open = () => {
    source = new EventSource("/api/events");
    source.addEventListener("open", () => {
      live();
      if (wasOpen) again();
      wasOpen = true;
    });
    source.addEventListener("change", (event) => changed(JSON.parse(event.data)));
    source.addEventListener("again", () => again());
    source.addEventListener("lost", (event) => lost(JSON.parse(event.data)));
    source.addEventListener("error", () => {
      lost("the gateway does not answer");
      if (source.readyState === EventSource.CLOSED) setTimeout(open, 3000);
    });
  };
  open();
  return {
    restart() {
      source.close();
      open();
    },
  };
}
