/* ZooKeeper's C client (libzookeeper_mt), one handle at each of two gateways. */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zookeeper/zookeeper.h>

#define CHECK(condition) \
    do { if (!(condition)) { fprintf(stderr, "line %d: %s\n", __LINE__, #condition); exit(1); } } while (0)

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t told = PTHREAD_COND_INITIALIZER;

struct heard { int type, state; };

static void tell(struct heard *heard, int type, int state) {
    pthread_mutex_lock(&mutex);
    heard->type = type;
    heard->state = state;
    pthread_cond_broadcast(&told);
    pthread_mutex_unlock(&mutex);
}

static void session_watch(zhandle_t *handle, int type, int state, const char *path, void *context) {
    tell(context, type, state);
}

static void watch(zhandle_t *handle, int type, int state, const char *path, void *context) {
    if (type != ZOO_SESSION_EVENT) tell(context, type, state);
}

static void done(int code, const void *context) { tell((void *)context, 1000, code); }

static void done_string(int code, const char *value, const void *context) { done(code, context); }

static int type_of(struct heard *heard) {
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += 60;
    pthread_mutex_lock(&mutex);
    while (!heard->type) CHECK(pthread_cond_timedwait(&told, &mutex, &deadline) == 0);
    pthread_mutex_unlock(&mutex);
    return heard->type;
}

static zhandle_t *connect_to(const char *host, struct heard *session) {
    zhandle_t *handle = zookeeper_init(host, session_watch, 20000, 0, session, 0);
    CHECK(handle && type_of(session) == ZOO_SESSION_EVENT && session->state == ZOO_CONNECTED_STATE);
    return handle;
}

int main(int count, char **hosts) {
    struct heard first = {0}, second = {0}, synced = {0}, added = {0};
    struct heard changed = {0}, children = {0}, appears = {0}, gone = {0};
    char buffer[100], path[100];
    int length = sizeof buffer;
    struct Stat stat;
    struct String_vector names;
    zoo_set_debug_level(ZOO_LOG_LEVEL_ERROR);
    zhandle_t *one = connect_to(hosts[1], &first), *two = connect_to(hosts[2], &second);
    CHECK(zoo_create(one, "/c", "x", 1, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path) == ZOK && !strcmp(path, "/c"));
    CHECK(zoo_async(two, "/c", done_string, &synced) == ZOK && type_of(&synced) && synced.state == ZOK);
    CHECK(zoo_wget(two, "/c", watch, &changed, buffer, &length, &stat) == ZOK);
    CHECK(length == 1 && buffer[0] == 'x' && stat.version == 0);
    CHECK(zoo_set(one, "/c", "y", 1, 0) == ZOK && type_of(&changed) == ZOO_CHANGED_EVENT);
    CHECK(zoo_set(one, "/c", "z", 1, 0) == ZBADVERSION);
    CHECK(zoo_wget_children(two, "/c", watch, &children, &names) == ZOK && names.count == 0);
    CHECK(zoo_wexists(two, "/c/e", watch, &appears, &stat) == ZNONODE);
    CHECK(zoo_create(one, "/c/e", NULL, -1, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL, path, sizeof path) == ZOK);
    CHECK(type_of(&children) == ZOO_CHILD_EVENT && type_of(&appears) == ZOO_CREATED_EVENT);
    length = sizeof buffer;
    CHECK(zoo_get(two, "/c/e", 0, buffer, &length, &stat) == ZOK && length == -1);
    CHECK(zoo_create2(one, "/c/s-", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_SEQUENCE, path, sizeof path, &stat) == ZOK);
    CHECK(!strcmp(path, "/c/s-0000000001") && stat.version == 0);
    zoo_op_t ops[3];
    zoo_op_result_t results[3];
    zoo_check_op_init(&ops[0], "/c", 1);
    zoo_create_op_init(&ops[1], "/c/t", "t", 1, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path);
    zoo_delete_op_init(&ops[2], "/c/missing", -1);
    CHECK(zoo_multi(one, 3, ops, results) == ZNONODE && results[2].err == ZNONODE);
    CHECK(zoo_multi(one, 2, ops, results) == ZOK && !strcmp(path, "/c/t"));
    CHECK(zoo_add_auth(one, "digest", "ann:secret", 10, done, &added) == ZOK && type_of(&added) && added.state == ZOK);
    CHECK(zoo_set_acl(one, "/c/t", -1, &ZOO_CREATOR_ALL_ACL) == ZOK);
    CHECK(zoo_get(two, "/c/t", 0, buffer, &length, &stat) == ZNOAUTH);
    CHECK(zoo_wexists(two, "/c/e", watch, &gone, &stat) == ZOK && stat.ephemeralOwner == zoo_client_id(one)->client_id);
    CHECK(zookeeper_close(one) == ZOK && type_of(&gone) == ZOO_DELETED_EVENT);
    CHECK(zookeeper_close(two) == ZOK);
    return 0;
}
