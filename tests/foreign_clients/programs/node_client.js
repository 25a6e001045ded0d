// npm's node-zookeeper-client, one client at each of two gateways.
const assert = require("assert");
const zookeeper = require("node-zookeeper-client");
const { Event, CreateMode, Exception, Id, ACL, Permission } = zookeeper;

function connect(host) {
  const client = zookeeper.createClient(host, { sessionTimeout: 20000 });
  return new Promise((resolve) => {
    client.once("connected", () => resolve(client));
    client.connect();
  });
}

const ask = (client, name, ...args) =>
  new Promise((resolve, reject) =>
    client[name](...args, (error, ...results) => (error ? reject(error) : resolve(results))));

function watch() {
  let fire;
  const told = new Promise((resolve) => (fire = resolve));
  return [fire, told];
}

async function main([first, second]) {
  const one = await connect(first), two = await connect(second);
  assert.deepStrictEqual(await ask(one, "create", "/node", Buffer.from("x")), ["/node"]);
  await ask(two, "mkdirp", "/node/a/b");
  const [fire, changed] = watch();
  const [data, stat] = await ask(two, "getData", "/node", fire);
  assert.deepStrictEqual([data.toString(), stat.version], ["x", 0]);
  await ask(one, "setData", "/node", Buffer.from("y"), 0);
  assert.strictEqual((await changed).getType(), Event.NODE_DATA_CHANGED);
  await assert.rejects(ask(one, "setData", "/node", Buffer.from("z"), 0), (e) => e.getCode() === Exception.BAD_VERSION);
  const [listed, children] = watch();
  await ask(two, "getChildren", "/node", listed);
  const [path] = await ask(one, "create", "/node/e-", CreateMode.EPHEMERAL_SEQUENTIAL);
  assert.strictEqual(path, "/node/e-0000000001");
  assert.strictEqual((await children).getType(), Event.NODE_CHILDREN_CHANGED);
  const transaction = one.transaction().check("/node", 1).create("/node/c").remove("/node/a/b");
  assert.strictEqual((await ask(transaction, "commit"))[0].length, 3);
  await assert.rejects(ask(one.transaction().remove("/node/c").remove("/node/missing"), "commit"));
  assert.ok((await ask(two, "exists", "/node/c"))[0], "all or nothing");
  one.addAuthInfo("digest", Buffer.from("ann:secret"));
  await ask(one, "setACL", "/node/c", [new ACL(Permission.ALL, new Id("auth", ""))]);
  await assert.rejects(ask(two, "getData", "/node/c"), (e) => e.getCode() === Exception.NO_AUTH);
  const [deleted, gone] = watch();
  assert.ok((await ask(two, "exists", path, deleted))[0]);
  one.close();
  assert.strictEqual((await gone).getType(), Event.NODE_DELETED);
  two.close();
}

main(process.argv.slice(2)).then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
