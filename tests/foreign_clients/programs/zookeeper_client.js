// npm's zookeeper, the C client as an addon of Node.js, one client at each of two gateways.
const assert = require("assert");
const { Promise: ZooKeeper, constants } = require("zookeeper");

function connect(host) {
  const client = new ZooKeeper({ connect: host, timeout: 20000, debug_level: constants.ZOO_LOG_LEVEL_ERROR });
  return new Promise((resolve) => {
    client.once("connect", () => resolve(client));
    client.init({});
  });
}

async function main([first, second]) {
  const one = await connect(first), two = await connect(second);
  assert.strictEqual(await one.create("/addon", "x", constants.ZOO_PERSISTENT), "/addon");
  let tell;
  const changed = new Promise((resolve) => (tell = resolve));
  const [stat, data] = await two.w_get("/addon", (type, state, path) => tell([type, path]));
  assert.deepStrictEqual([data.toString(), stat.version], ["x", 0]);
  await one.set("/addon", "y", 0);
  assert.deepStrictEqual(await changed, [constants.ZOO_CHANGED_EVENT, "/addon"]);
  await assert.rejects(one.set("/addon", "z", 0));
  const path = await one.create("/addon/e-", "", constants.ZOO_EPHEMERAL_SEQUENTIAL);
  assert.strictEqual(path, "/addon/e-0000000000");
  assert.deepStrictEqual(await two.get_children("/addon"), ["e-0000000000"]);
  const gone = new Promise((resolve) => (tell = resolve));
  await two.w_exists(path, (type) => tell(type));
  one.close();
  assert.strictEqual(await gone, constants.ZOO_DELETED_EVENT);
  two.close();
}

main(process.argv.slice(2)).then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
