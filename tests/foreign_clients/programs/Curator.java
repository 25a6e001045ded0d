// Curator's framework and recipes, one client at each of two gateways.

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BooleanSupplier;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.api.transaction.CuratorTransactionResult;
import org.apache.curator.framework.recipes.atomic.AtomicValue;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.barriers.DistributedDoubleBarrier;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.cache.PathChildrenCache;
import org.apache.curator.framework.recipes.cache.TreeCache;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.nodes.GroupMember;
import org.apache.curator.framework.recipes.nodes.PersistentNode;
import org.apache.curator.framework.recipes.shared.SharedCount;
import org.apache.curator.retry.RetryNTimes;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;

public class Curator {
    static final int SECONDS = 60;

    public static void main(String[] hosts) throws Exception {
        CuratorFramework one = start(hosts[0]), two = start(hosts[1]);
        nodes(one, two);
        locks(one, two);
        counters(one, two);
        caches(one, two);
        leaders(one, two);
        barriers(one, two);
        one.close();
        two.close();
        System.exit(0);
    }

    static CuratorFramework start(String host) throws Exception {
        CuratorFramework client = CuratorFrameworkFactory.builder().connectString(host).namespace("curator")
                .sessionTimeoutMs(20_000).connectionTimeoutMs(SECONDS * 1000).retryPolicy(new RetryNTimes(5, 200)).build();
        client.start();
        check(client.blockUntilConnected(SECONDS, TimeUnit.SECONDS), "connected");
        return client;
    }

    static void nodes(CuratorFramework one, CuratorFramework two) throws Exception {
        one.create().creatingParentContainersIfNeeded().forPath("/nodes/a/b", "x".getBytes());
        two.sync().forPath("/nodes");
        check(new String(two.getData().forPath("/nodes/a/b")).equals("x"), "data");
        String made = one.create().withProtection().withMode(CreateMode.EPHEMERAL_SEQUENTIAL).forPath("/nodes/e-");
        check(made.endsWith("0000000001"), "sequence " + made);
        one.create().withTtl(100_000).withMode(CreateMode.PERSISTENT_WITH_TTL).forPath("/nodes/ttl");
        List<CuratorTransactionResult> results = one.transaction().forOperations(
                one.transactionOp().check().forPath("/nodes/a/b"),
                one.transactionOp().setData().withVersion(0).forPath("/nodes/a/b", "y".getBytes()),
                one.transactionOp().create().forPath("/nodes/c"));
        check(results.size() == 3 && results.get(1).getResultStat().getVersion() == 1, "transaction");
        try {
            two.transaction().forOperations(two.transactionOp().delete().forPath("/nodes/c"),
                    two.transactionOp().delete().forPath("/nodes/missing"));
            check(false, "a transaction that cannot be");
        } catch (KeeperException.NoNodeException expected) {
            check(two.checkExists().forPath("/nodes/c") != null, "all or nothing");
        }
        CountDownLatch seen = new CountDownLatch(1);
        two.getChildren().usingWatcher((org.apache.curator.framework.api.CuratorWatcher) event -> seen.countDown())
                .forPath("/nodes/a");
        one.create().forPath("/nodes/a/d");
        check(seen.await(SECONDS, TimeUnit.SECONDS), "watch");
        one.delete().deletingChildrenIfNeeded().forPath("/nodes");
        check(two.checkExists().forPath("/nodes") == null, "deleted");
    }

    static void locks(CuratorFramework one, CuratorFramework two) throws Exception {
        AtomicInteger inside = new AtomicInteger(), entered = new AtomicInteger();
        together(4, number -> {
            InterProcessMutex mutex = new InterProcessMutex(number % 2 == 0 ? one : two, "/mutex");
            for (int turn = 0; turn < 3; turn++) {
                mutex.acquire();
                check(inside.incrementAndGet() == 1, "alone");
                entered.incrementAndGet();
                inside.decrementAndGet();
                mutex.release();
            }
        });
        check(entered.get() == 12, "everybody had the mutex");
        InterProcessReadWriteLock left = new InterProcessReadWriteLock(one, "/rw");
        InterProcessReadWriteLock right = new InterProcessReadWriteLock(two, "/rw");
        left.readLock().acquire();
        check(right.readLock().acquire(SECONDS, TimeUnit.SECONDS), "two readers");
        check(!right.writeLock().acquire(1, TimeUnit.SECONDS), "no writer beside readers");
        left.readLock().release();
        right.readLock().release();
        check(right.writeLock().acquire(SECONDS, TimeUnit.SECONDS), "a writer alone");
        right.writeLock().release();
        InterProcessSemaphoreV2 first = new InterProcessSemaphoreV2(one, "/semaphore", 2);
        InterProcessSemaphoreV2 second = new InterProcessSemaphoreV2(two, "/semaphore", 2);
        var lease = first.acquire();
        second.acquire();
        check(second.acquire(1, TimeUnit.SECONDS) == null, "no third lease");
        first.returnLease(lease);
        check(second.acquire(SECONDS, TimeUnit.SECONDS) != null, "a lease that came back");
    }

    static void counters(CuratorFramework one, CuratorFramework two) throws Exception {
        together(2, number -> {
            DistributedAtomicLong counter =
                    new DistributedAtomicLong(number == 0 ? one : two, "/counter", new RetryNTimes(100, 10));
            for (int turn = 0; turn < 10; turn++) {
                AtomicValue<Long> value = counter.increment();
                check(value.succeeded(), "increment");
            }
        });
        long value = new DistributedAtomicLong(one, "/counter", new RetryNTimes(1, 1)).get().postValue();
        check(value == 20, "counted " + value);
        SharedCount left = new SharedCount(one, "/shared", 0), right = new SharedCount(two, "/shared", 0);
        left.start();
        right.start();
        left.setCount(7);
        eventually(() -> right.getCount() == 7, "shared count");
    }

    static void caches(CuratorFramework one, CuratorFramework two) throws Exception {
        one.create().forPath("/cached");
        PathChildrenCache children = new PathChildrenCache(two, "/cached", true);
        children.start(PathChildrenCache.StartMode.BUILD_INITIAL_CACHE);
        TreeCache tree = new TreeCache(two, "/cached");
        tree.start();
        CuratorCache cache = CuratorCache.build(two, "/cached");  // by a persistent recursive watch
        cache.start();
        for (int number = 0; number < 20; number++) one.create().forPath("/cached/" + number, ("" + number).getBytes());
        one.create().forPath("/cached/3/deep");
        one.setData().forPath("/cached/7", "changed".getBytes());
        one.delete().forPath("/cached/9");
        eventually(() -> children.getCurrentData().size() == 19, "path cache");
        eventually(() -> {
            var found = tree.getCurrentData("/cached/7");
            return found != null && new String(found.getData()).equals("changed")
                    && tree.getCurrentData("/cached/3/deep") != null && tree.getCurrentData("/cached/9") == null;
        }, "tree cache");
        eventually(() -> cache.size() == 21 && cache.get("/cached/7").map(n -> new String(n.getData()))
                .orElse("").equals("changed"), "curator cache");
        GroupMember left = new GroupMember(one, "/group", "left"), right = new GroupMember(two, "/group", "right");
        left.start();
        right.start();
        eventually(() -> left.getCurrentMembers().size() == 2 && right.getCurrentMembers().size() == 2, "group");
        PersistentNode node = new PersistentNode(one, CreateMode.EPHEMERAL, false, "/persistent", "p".getBytes());
        node.start();
        check(node.waitForInitialCreate(SECONDS, TimeUnit.SECONDS), "persistent node");
        two.delete().forPath("/persistent");
        eventually(() -> {
            try {
                return two.checkExists().forPath("/persistent") != null;
            } catch (Exception error) {
                throw new IllegalStateException(error);
            }
        }, "made again");
    }

    static void leaders(CuratorFramework one, CuratorFramework two) throws Exception {
        List<LeaderLatch> latches = new ArrayList<>();
        for (int number = 0; number < 4; number++) {
            latches.add(new LeaderLatch(number % 2 == 0 ? one : two, "/leader", "" + number));
            latches.get(number).start();
        }
        while (!latches.isEmpty()) {
            eventually(() -> latches.stream().filter(LeaderLatch::hasLeadership).count() == 1, "one leader");
            LeaderLatch leader = latches.stream().filter(LeaderLatch::hasLeadership).findFirst().get();
            leader.close();
            latches.remove(leader);
        }
    }

    static void barriers(CuratorFramework one, CuratorFramework two) throws Exception {
        AtomicInteger arrived = new AtomicInteger();
        together(4, number -> {
            var barrier = new DistributedDoubleBarrier(number % 2 == 0 ? one : two, "/barrier", 4);
            arrived.incrementAndGet();
            check(barrier.enter(SECONDS, TimeUnit.SECONDS), "entered");
            check(arrived.get() == 4, "all arrived");
            check(barrier.leave(SECONDS, TimeUnit.SECONDS), "left");
        });
    }

    interface Work {
        void run(int number) throws Exception;
    }

    static void together(int workers, Work work) throws Exception {
        ExecutorService threads = Executors.newFixedThreadPool(workers);
        List<Callable<Void>> calls = new ArrayList<>();
        for (int number = 0; number < workers; number++) {
            int mine = number;
            calls.add(() -> {
                work.run(mine);
                return null;
            });
        }
        for (Future<Void> done : threads.invokeAll(calls, SECONDS, TimeUnit.SECONDS)) done.get();
        threads.shutdown();
    }

    static void eventually(BooleanSupplier condition, String what) throws Exception {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(SECONDS);
        while (!condition.getAsBoolean()) {
            check(System.nanoTime() < deadline, what);
            Thread.sleep(20);
        }
    }

    static void check(boolean condition, String what) {
        if (!condition) throw new AssertionError(what);
    }
}
